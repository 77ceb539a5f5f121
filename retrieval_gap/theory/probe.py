"""How many bits of its state a trained model uses: reduce the state at the end of the sequence, then decode on.

Axes: B samples, L positions, C calibration samples, F elements of one sample's state.

The cut is at the end of the sequence, before the question (the task's `context_len`), or before the last token of the
prompt.  Some token is always read after it, so all that the model writes comes from the carried state.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from retrieval_gap.decoding.evaluation import decode_batch, evaluate
from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models.mixer import State, bits_of, state_tensors
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.api import Task
from retrieval_gap.theory.quantise import Components, Levels, Rounding

CALIBRATION_SAMPLES = 512
KEPT_SHARE = 0.99  # a model that keeps this share of its accuracy does as well as before
BATCH_SHARE = 8  # while a state is quantised, memory holds several copies of it


@runtime_checkable
class StatefulModel(Protocol):
    """What the probe needs of a model (a `SequenceModel`, or any class with these members)."""

    @property
    def device(self) -> torch.device: ...

    def prefill(self, tokens_BxL: Tensor, state: State | None = None) -> tuple[Tensor, State]: ...

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What is carried over the cut: `bits` bits for each of the first `rank` principal components (or all, if there are
    fewer); with rank 0, for each element.  With 0 bits, the mean of the calibration samples."""

    bits: int
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class ProbeRow:
    """Accuracy for one amount of carried state.

    bits, rank: as in `Carried`; bits is None for the unchanged state.  state_bits: bits carried in all, per sample.
    accuracy: as in `Evaluation`; accuracy_strict: an undecided sample is wrong.
    strict_low, strict_high: 95 % Wilson interval of `accuracy_strict`.
    """

    bits: int | None
    rank: int
    state_bits: int
    accuracy: float
    accuracy_strict: float
    strict_low: float
    strict_high: float


@dataclass(frozen=True, kw_only=True)
class BitsUsed:
    """The fewest bits that keep 99 % of the strict accuracy of the unchanged state: by the accuracy itself (`bits`), by
    the upper end of its interval (`low`), and by the lower end (`high`; None if no row is that certain)."""

    bits: int
    low: int
    high: int | None


class CutModel:
    """A model whose state is changed in place once, after `length` tokens of every prompt."""

    def __init__(self, model: StatefulModel, length: int, change: Callable[[State], None]) -> None:
        self._model, self._length, self._change = model, length, change
        self.device, self.step = model.device, model.step

    def prefill(self, tokens_BxL: Tensor) -> tuple[Tensor, State]:
        if tokens_BxL.shape[1] <= self._length:
            raise ValueError(f"a prompt has {tokens_BxL.shape[1]} tokens, and the cut is after {self._length}")
        state = self.read(tokens_BxL)
        self._change(state)
        return self._model.prefill(tokens_BxL[:, self._length :], state)

    def read(self, tokens_BxL: Tensor) -> State:
        """The unchanged state at the cut."""
        return self._model.prefill(tokens_BxL[:, : self._length])[1]


def cut_of(task: Task) -> int:
    """The number of tokens of every prompt before the cut.

    Raises UsageError for prompts of one token, and for prompts of different lengths if the task has no `context_len`.
    """
    prompt_len_B = task.sample(np.arange(CALIBRATION_SAMPLES)).prompt_len_B
    shortest, longest = int(prompt_len_B.min()), int(prompt_len_B.max())
    length = min(task.context_len or shortest, shortest - 1)
    if length < 1 or (task.context_len is None and shortest < longest):
        raise UsageError(f"task {task.name!r} cannot be probed: it has no context_len, the place to cut its prompts")
    return length


@torch.inference_mode()
def largest_rank(model: StatefulModel, length: int) -> int:
    """The number of principal components of the state after `length` tokens: at most its elements, and at most the
    samples that they are fitted to."""
    state = model.prefill(torch.zeros(1, length, dtype=torch.long, device=model.device))[1]
    return min(CALIBRATION_SAMPLES, sum(t.numel() for t in _quantised(state)))


def probe(
    model: StatefulModel,
    task: Task,
    calibration: Task,
    samples: int,
    carried: Sequence[Carried],
    *,
    rounding: Rounding = "nearest",
    seed: int = 0,
    retriever: RetrieverName | None = None,
) -> list[ProbeRow]:
    """Accuracy on the first `samples` samples of `task` with the unchanged state, then with each of `carried`; a
    boolean state is not quantised further.

    calibration: the same task on its training split; levels and components are fitted to its first samples alone.
    seed: of stochastic rounding.
    Raises UsageError if the task has no place to cut, or the model no state.
    """
    length = cut_of(calibration)
    whole = CutModel(model, length, lambda _: None)
    x_CxF, state_bits, other_bits = _calibrate(whole, calibration)
    batch = max(1, decode_batch(state_bits) // BATCH_SHARE)
    carried = carried if x_CxF.numel() else ()
    components = Components.of(x_CxF) if any(c.rank for c in carried) else None

    def measure(cut: CutModel, bits: int | None, rank: int, total: int) -> ProbeRow:
        told = evaluate(cut, task, samples, retriever=retriever, batch=batch)
        low, high = wilson_interval(told.accuracy_strict, samples)
        return ProbeRow(
            bits=bits,
            rank=rank,
            state_bits=total,
            accuracy=told.accuracy,
            accuracy_strict=told.accuracy_strict,
            strict_low=low,
            strict_high=high,
        )

    rows = [measure(whole, None, 0, state_bits)]
    for c in dict.fromkeys(replace(c, rank=min(c.rank, *x_CxF.shape)) for c in carried):
        change = _change(c, x_CxF, components, rounding, seed)
        total = c.bits * (c.rank or x_CxF.shape[1]) + other_bits
        rows.append(measure(CutModel(model, length, change), c.bits, c.rank, total))
    return rows


def bits_used(rows: Sequence[ProbeRow]) -> BitsUsed:
    """The `BitsUsed` of a probe's rows, the first of which is for the unchanged state."""
    wanted = KEPT_SHARE * rows[0].accuracy_strict

    def fewest(key: Callable[[ProbeRow], float]) -> int | None:
        return min((row.state_bits for row in rows if key(row) >= wanted), default=None)

    bits, low = fewest(lambda row: row.accuracy_strict), fewest(lambda row: row.strict_high)
    assert bits is not None, "the state as it is keeps its accuracy"
    assert low is not None
    return BitsUsed(bits=bits, low=low, high=fewest(lambda row: row.strict_low))


@torch.inference_mode()
def _calibrate(cut: CutModel, task: Task) -> tuple[Float[Tensor, "c f"], int, int]:
    """States at the cut, bits of one state, and how many of these bits are in integer or boolean tensors, which stay
    unchanged.  Raises UsageError if there are no others."""
    tokens_CxL = torch.from_numpy(task.sample(np.arange(CALIBRATION_SAMPLES)).tokens_BxL).to(cut.device)
    one = state_tensors(cut.read(tokens_CxL[:1]))
    bits, other_bits = bits_of(one), bits_of(t for t in one if not _is_continuous(t))
    if bits == other_bits:
        if not any(t.dtype == torch.bool for t in one):
            raise UsageError("the model carries no state that could be quantised")
        return torch.empty(0, 0), bits, other_bits
    chunks = tokens_CxL.split(max(1, decode_batch(bits) // BATCH_SHARE))
    return torch.cat([_elements(cut.read(tokens_BxL)) for tokens_BxL in chunks]), bits, other_bits


def _is_continuous(t: Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _quantised(state: State) -> list[Tensor]:
    """The tensors of a state that are quantised: floating-point ones, not integers (such as a position).

    A complex tensor is seen as one of real and imaginary parts, which are elements like others.
    """
    continuous = [t for t in state_tensors(state) if _is_continuous(t)]
    return [torch.view_as_real(t) if t.is_complex() else t for t in continuous]


def _elements(state: State) -> Float[Tensor, "b f"]:
    """The elements to quantise, one row per sample."""
    return torch.cat([t.flatten(1).float() for t in _quantised(state)], 1)


def _change(
    carried: Carried, x_CxF: Tensor, components: Components | None, rounding: Rounding, seed: int
) -> Callable[[State], None]:
    """The function that reduces a state in place to what is carried over the cut."""
    dice = torch.Generator().manual_seed(seed) if rounding == "stochastic" else None
    basis = components.first(carried.rank) if components is not None and carried.rank else None
    levels = Levels.calibrate(x_CxF if basis is None else basis.coefficients(x_CxF), carried.bits)

    def change(state: State) -> None:
        x_BxF = _elements(state)
        x_BxF = levels(x_BxF, dice) if basis is None else basis.vector(levels(basis.coefficients(x_BxF), dice))
        tensors = _quantised(state)
        for tensor, part in zip(tensors, x_BxF.split([t[0].numel() for t in tensors], 1), strict=True):
            tensor.copy_(part.view_as(tensor))

    return change
