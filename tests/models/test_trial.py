"""A user's layer that breaks a promise of `Mixer` is refused before training, and the error says what differs."""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mixer import Mixer, Residual
from retrieval_gap.models.trial import broken_promise, first_step, without_gradient

D = 8


class Sum(Mixer):
    """A running sum: the simplest recurrence."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(D, D, bias=False)

    def init_state(self, batch: int) -> tuple[Tensor]:
        return (torch.zeros(batch, D),)

    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        h = self.linear(x).cumsum(1) + state[0][:, None]
        return h, (h[:, -1],)


class DropsItsState(Sum):
    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().prefill(x, self.init_state(len(x)))


class DropsItsStateInPieces(Sum):
    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().prefill(x, state if x.shape[1] == 1 else self.init_state(len(x)))


class LooksAhead(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).flip(1).cumsum(1).flip(1)

    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.forward(x), state


class LooksAheadInForwardAlone(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.1 * self.linear(x).roll(-1, 1)


class MixesRows(Sum):
    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().prefill(x + x.mean(0, keepdim=True), state)


class Broadcasts(Sum):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).sum(1, keepdim=True)


class StepBroadcasts(Sum):
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = super().step(x, state)
        return y.mean(0, keepdim=True), state


class StepIsAnother(Sum):
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = super().step(x, state)
        return 1.1 * y, state


class DropsUnits(Sum):
    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = super().prefill(x, state)
        return nn.functional.dropout(y, 0.1), state


class HidesBehindZero(DropsItsState):
    """Its output is zero before training, because its projection is."""

    def __init__(self) -> None:
        super().__init__()
        nn.init.zeros_(self.linear.weight)


class HasAnUnusedParameter(Sum):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))


def model_of(mixer: Callable[[], Mixer]) -> SequenceModel:
    class Stack:
        d_model = D

        def layers(self) -> list[Mixer]:
            return [Residual(D, mixer()), Residual(D, Sum())]

    return SequenceModel(ModelConfig(architecture=Stack(), vocab_size=12, embedding="learned"))


def test_a_layer_that_keeps_its_promises_passes() -> None:
    assert broken_promise(model_of(Sum), "mine.py") == ""


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_the_built_in_architectures_pass(arch: str) -> None:
    model = SequenceModel(ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=12))
    assert broken_promise(model, arch) == ""


@pytest.mark.parametrize(
    ("mixer", "told"),
    [
        (DropsItsState, "prefill in pieces and forward differ"),
        (DropsItsStateInPieces, "prefill in pieces and forward differ"),
        (HidesBehindZero, "prefill in pieces and forward differ"),
        (LooksAhead, "differ"),
        (LooksAheadInForwardAlone, "prefill and forward differ"),
        (MixesRows, "a sample alone and padded has another output"),
        (Broadcasts, r"forward gives shape \(2, 1, 8\) for an input of \(2, 7, 8\)"),
        (StepBroadcasts, r"step after step gives shape \(1, 7, 8\)"),
        (DropsUnits, "forward gives another output each time, by .*; dropout and other noise are not supported"),
        (StepIsAnother, "step after step and forward differ by"),
    ],
)
def test_a_layer_that_breaks_a_promise_is_named_with_what_differs(mixer: Callable[[], Mixer], told: str) -> None:
    found = broken_promise(model_of(mixer), "mine.py")
    assert re.search(told, found)
    assert f"layer 0, {mixer.__name__}" in found


class LooksAheadEverywhere(Sum):
    """Consistent with itself within one call, and not causal."""

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * x.amax(1, keepdim=True)

    def prefill(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.forward(x), state


def test_the_first_token_at_which_outputs_differ_is_reported() -> None:
    found = broken_promise(model_of(DropsItsState), "mine.py")
    assert "from token 3 on, of 7" in found


def test_causality_is_checked_separately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval_gap.models.trial._readings", lambda mixer: iter(()))
    assert "it looks ahead" in broken_promise(model_of(LooksAheadEverywhere), "mine.py")


def test_an_unused_parameter_is_named() -> None:
    model = model_of(HasAnUnusedParameter)
    tokens = torch.randint(0, 12, (2, 9), generator=torch.Generator().manual_seed(0))
    first_step(model, tokens, torch.ones(2, 9, dtype=torch.bool))
    assert without_gradient(model.trained_parameters()) == ["layers.0.mixer.unused"]


FILE = """
from dataclasses import dataclass
import torch
from torch import nn
from retrieval_gap.about import About
from retrieval_gap.models.mixer import Mixer, Residual

ABOUT = About(name="Sum", state="{state}")

class Sum(Mixer):
    def __init__(self, d_model):
        super().__init__()
        self.linear = nn.Linear(d_model, d_model)
        self.register_buffer("size", torch.ones(()))
        self.spare = nn.Parameter(torch.ones(2), requires_grad={spare})
    def init_state(self, batch):
        return (self.linear.weight.new_zeros(batch, self.linear.in_features),)
    def prefill(self, x, state):
        if {scaled} and torch.is_grad_enabled():
            self.size.lerp_(x.detach().abs().mean(), 0.1)
        h = self.linear(x).cumsum(1) + {carried} * state[0][:, None]
        return h, (h[:, -1],)

@dataclass(frozen=True, kw_only=True)
class Stack:
    d_model: int
    def layers(self):
        return [Residual(self.d_model, Sum(self.d_model))]

SIZES = {{"tiny": Stack(d_model=16)}}
"""


PLAIN = {"state": "fixed", "carried": 1.0, "spare": False, "scaled": False}


def config(path: Path, **changes: object) -> RunConfig:
    file = path / "sums.py"
    file.write_text(dedent(FILE).format(**PLAIN | changes))
    return RunConfig(task="index", mode="direct", n=8, arch=str(file), size="tiny")


def test_a_users_file_that_keeps_its_promises_is_accepted(tmp_path: Path) -> None:
    config(tmp_path).validate()


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        ("Residual(self.d_model, Sum(self.d_model))", "nn.Linear(16, 16)", "layer 0 is a Linear, and no Mixer"),
        ("(self.linear.weight.new_zeros(batch, self.linear.in_features),)", "[torch.zeros(batch, 16)]",
         "layer 0, Sum: init_state returns a list; a state is a tuple of tensors"),
        ("    def init_state", "    def forward(self, x): return self.linear(x)[..., :3]\n    def init_state",
         r"layer 0, Sum: forward gives shape \(1, 7, 3\) for an input of \(1, 7, 16\)"),
    ],
)  # fmt: skip
def test_a_layer_of_the_wrong_type_state_or_shape_is_named(tmp_path: Path, there: str, instead: str, told: str) -> None:
    made = config(tmp_path)
    text = Path(made.arch).read_text()
    assert text.count(there) == 1
    Path(made.arch).write_text(text.replace(there, instead))
    with pytest.raises(UsageError, match=told):
        made.validate()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"carried": 0.0}, "layer 0, Sum: prefill in pieces and forward differ"),
        ({"state": "grows"}, "ABOUT says state='grows'"),
        ({"scaled": True}, r"training changes its buffer layers\.0\.mixer\.size, and only parameters are kept"),
        ({"spare": True}, r"no output depends on the parameter layers\.0\.mixer\.spare"),
    ],
)
def test_a_users_file_that_is_wrong_is_refused_before_its_run_starts(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told) as error:
        config(tmp_path, **changes).validate()
    assert "sums.py" in str(error.value)
    assert "\n" not in str(error.value)
