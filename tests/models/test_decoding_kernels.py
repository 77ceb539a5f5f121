"""Decoding equals the parallel forward pass at the sizes at which the compiled kernels take over."""

import pytest
import torch

from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mixer import select_rows
from tests.models.helpers import VOCAB, random_tokens


@pytest.mark.parametrize("name", ["transformer", "hybrid", "mamba", "lstm"])
@pytest.mark.parametrize("rows", [(40, 40), (200, 24)])
def test_a_large_batch_that_loses_rows_is_decoded_as_in_the_forward_pass(name: str, rows: tuple[int, int]) -> None:
    """At 200 rows the prompt goes through the compiled kernels. The steps pass a doubling of the cache, and end with
    fewer rows than the kernels take."""
    model = SequenceModel(ModelConfig(architecture=architecture(name, "tiny+n_layers=1"), vocab_size=VOCAB)).eval()
    first, later = rows
    tokens = random_tokens(first, 30)
    with torch.inference_mode():
        logits = model.double()(tokens)
        model.float()
        last, state = model.prefill(tokens[:, :9])
        torch.testing.assert_close(last, logits[:, 8].float(), rtol=1e-4, atol=1e-4)
        kept = torch.arange(first)
        for t in range(9, 30):
            if t in (14, 22):
                chosen = torch.arange(len(kept) - 1, -1, -2 if t == 14 else -3)[:later]
                state, kept = select_rows(state, chosen), kept[chosen]
            last, state = model.step(tokens[kept, t], state)
            torch.testing.assert_close(last, logits[kept, t].float(), rtol=1e-4, atol=1e-4)
    assert len(kept) < 16
