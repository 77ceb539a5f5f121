"""A layer of another package is named by its dotted path. The layers here have the interface of fla's.

`test_fla_package.py` tests the layers of fla itself.
"""

import json
from pathlib import Path

import pytest
import torch

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mixer import select_rows, state_tensors
from tests.models.helpers import random_tokens

LAYERS = """
import torch
from torch import nn

class Decaying(nn.Module):
    def __init__(self, mode="chunk", hidden_size=1024, num_heads=4, layer_idx=None):
        super().__init__()
        self.proj, self.layer_idx = nn.Linear(hidden_size, hidden_size), layer_idx

    def forward(self, hidden_states, attention_mask=None, past_key_values=None, use_cache=False, **kwargs):
        last = None
        if past_key_values is not None and len(past_key_values) > self.layer_idx:
            last = past_key_values[self.layer_idx]
        x, outputs = self.proj(hidden_states), []
        h = x.new_zeros(x[:, 0].shape) if last is None else last["recurrent_state"]
        window = x.new_zeros(x[:, 0].shape) if last is None else last["conv_state"][0]
        for t in range(x.shape[1]):
            h = 0.9 * h + x[:, t] + 0.5 * window
            window = x[:, t]
            outputs.append(torch.tanh(h))
        if past_key_values is not None:
            states = self.states(h, window, x)
            past_key_values.update(layer_idx=self.layer_idx, offset=x.shape[1], **states)
        return torch.stack(outputs, 1), None, past_key_values

    def states(self, h, window, x):
        return {"recurrent_state": h, "conv_state": (window, None)}

class Growing(Decaying):
    def states(self, h, window, x):
        return {"attn_state": (x, x)}

class Odd(Decaying):
    def states(self, h, window, x):
        return {"recurrent_state": {"h": h}}

NOT_A_LAYER = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "fakefla").mkdir()
    (tmp_path / "fakefla" / "layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "fakefla.layers"


def model_of(path: str) -> SequenceModel:
    return SequenceModel(ModelConfig(architecture=architecture(path, "tiny"), vocab_size=23))


def test_the_layer_is_the_same_in_parallel_by_prefill_and_step_by_step(package: str) -> None:
    model, tokens = model_of(f"{package}.Decaying"), random_tokens(3, 12)
    with torch.no_grad():
        logits = model(tokens)
        _, state = model.prefill(tokens[:, :4])
        last, state = model.prefill(tokens[:, 4:7], state)
        torch.testing.assert_close(last, logits[:, 6])
        state = select_rows(state, torch.tensor([2, 0]))
        for t in range(7, 12):
            last, state = model.step(tokens[[2, 0], t], state)
            torch.testing.assert_close(last, logits[[2, 0], t])


def test_state_bits_are_those_of_the_tensors_in_the_cache(package: str) -> None:
    model = model_of(f"{package}.Decaying")
    assert model.state_bits(3) == model.state_bits(40) == 3 * 2 * 64 * 32  # layers x (h, window) x width x bits
    _, state = model.prefill(random_tokens(5, 2))
    assert {tensor.shape for tensor in state_tensors(state)} == {(5, 64)}


def test_the_layer_trains_and_decodes_from_the_command_line(
    package: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"train --task index --mode rag --length 8 --arch {package}.Decaying --size tiny --samples 32 --threads 1"
    line += f" --batch-size 8 --warmup-samples 8 --eval-samples 4 --runs-dir {tmp_path / 'runs'}"
    assert main(line.split()) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["arch"], row["state_bits"]) == (f"{package}.Decaying", 3 * 2 * 64 * 32)
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("index-rag-n8-Decaying-tiny-s0-")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fakefla.layers.Decayin", "has no layer 'Decayin'"),
        ("fakefla.layers.NOT_A_LAYER", "has no layer 'NOT_A_LAYER'"),
        ("fakefla.lairs.Decaying", "No module named 'fakefla.lairs'"),
        ("nowhere_at_all.layers.GatedLinearAttention", "No module named 'nowhere_at_all'"),
        (".layers.X", "cannot be imported"),
    ],
)
def test_a_path_that_names_no_layer_is_refused_in_one_line(package: str, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        architecture(name, "tiny")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "told"), [("Growing", "grows with the context"), ("Odd", "a part of its state is a dict")]
)
def test_a_state_that_cannot_be_counted_is_refused_before_a_run_starts(
    package: str, name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"train --task index --mode rag --length 8 --arch {package}.{name} --size tiny --threads 1"
    assert main([*line.split(), "--runs-dir", str(tmp_path / "runs")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
