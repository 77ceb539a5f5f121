"""Test that a head obeys its mask: neither the content of padding nor its length may change the scores."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor

from retrieval_gap.heads.head import Head
from retrieval_gap.machine.errors import UsageError

LENGTHS, LONGEST, MORE = (1, 4, 7), 7, 5
SEEDS = 4
LOUD = 100.0
NOISE = 0.05  # added to every weight: a gate that starts at zero would hide the layers that it gates


@torch.no_grad()
def check_mask(head: Head, shown: str, *, tokens: bool = False) -> None:
    """Raises UsageError for a head that reads padding, or gives scores of the wrong shape.

    The head is tested without dropout: with its own weights, and with noise added to them.
    """
    head.eval()
    mask_BxL = torch.arange(LONGEST + MORE) < torch.tensor(LENGTHS)[:, None]
    for seed in range(SEEDS):
        draws = torch.Generator().manual_seed(seed)
        states_BxLxD = torch.randn(*mask_BxL.shape, head.shape.d_states, generator=draws)
        for change in (nullcontext(), _noise(head, draws)):
            with change:
                for padding_BxLxD in _paddings(states_BxLxD):
                    filled_BxLxD = torch.where(mask_BxL[..., None], states_BxLxD, padding_BxLxD)
                    _check_texts(head, shown, filled_BxLxD, mask_BxL, tokens=tokens)


@contextmanager
def _noise(head: Head, draws: torch.Generator) -> Iterator[None]:
    """Add noise to every trained weight; restore the weights at the end."""
    parameters = list(head.trained_parameters().values())
    weights = [parameter.clone() for parameter in parameters]
    try:
        for parameter in parameters:
            parameter.add_(NOISE * torch.randn(parameter.shape, generator=draws))
        yield
    finally:
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)


def _paddings(noise_BxLxD: Tensor) -> Iterator[Tensor]:
    """Yield the paddings to try.  A head's own layer norm makes all noise alike, so there are also zeros, which it
    keeps, and states with one large element, which it cannot shrink: they become the largest that a state can have."""
    yield from (torch.zeros_like(noise_BxLxD), noise_BxLxD, LOUD * noise_BxLxD)
    one_D = torch.zeros(noise_BxLxD.shape[-1])
    one_D[0] = LOUD
    yield from (one_D.expand_as(noise_BxLxD), -one_D.expand_as(noise_BxLxD))


def _check_texts(head: Head, shown: str, states_BxLxD: Tensor, mask_BxL: Tensor, *, tokens: bool) -> None:
    """Raises UsageError if a text's scores alone, without padding, differ from its scores in the batch."""
    score = head.token_scores if tokens else head
    scores = score(states_BxLxD, mask_BxL)
    wanted = (*mask_BxL.shape, head.shape.d_out) if tokens else (len(mask_BxL), head.shape.d_out)
    if tuple(scores.shape) != wanted:
        raise UsageError(f"head {shown} gives scores of shape {tuple(scores.shape)}; expected {wanted}")
    for row, length in enumerate(LENGTHS):
        alone = score(states_BxLxD[row : row + 1, :length], mask_BxL[row : row + 1, :length])[0]
        among = scores[row, :length] if tokens else scores[row]
        if not torch.allclose(alone, among, atol=1e-4, rtol=1e-4, equal_nan=True):
            raise UsageError(
                f"head {shown} ignores its mask: a text of {length} tokens gets other scores when something stands "
                "behind its end (docs/heads.md, A head of your own)"
            )
