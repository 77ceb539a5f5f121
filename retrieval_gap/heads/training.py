"""Train a head, alone or with the model below it, always by the same steps, search over rates and early stopping.

Every learning rate starts from the same weights; the best step of each rate, and the best rate, are chosen on the
validation split.  The state after any step is a pure function of the configuration, so on the CPU a killed run resumes
bit for bit.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from retrieval_gap.heads.data import Counted, StateData, loss_of, scores_of
from retrieval_gap.heads.head import Learner
from retrieval_gap.heads.saved import Saved
from retrieval_gap.machine.denormals import flushed_denormals
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.models.gradients import fill_missing

WEIGHT_DECAY, MAX_GRAD_NORM, WARMUP_STEPS = 0.01, 1.0, 20
EVALUATION_BATCH = 64
SEEDS = 1 << 63  # that a torch generator accepts


@dataclass(frozen=True, kw_only=True)
class HeadTraining:
    """rates: learning rates to try.  steps: most training steps per rate.  evaluate_every: steps between evaluations on
    the validation split.  patience: evaluations without improvement after which a rate's training stops."""

    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    steps: int = 1500
    batch_size: int = 32
    evaluate_every: int = 50
    patience: int = 6

    def __post_init__(self) -> None:
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise UsageError(f"learning rates {self.rates} are invalid: expected one or more between 0 and 1")
        for name in ("steps", "batch_size", "evaluate_every", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name.replace('_', '-')} = {getattr(self, name)} is out of range: expected 1 or more"
                )


@dataclass(frozen=True, kw_only=True)
class Splits:
    train: StateData
    validation: StateData


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """save: called with the checkpoint, at most every `seconds` and after each rate.  report: called with the steps
    done so far, over all rates."""

    save: Callable[[Saved], None]
    report: Callable[[int], None]
    seconds: float = 60.0


@flushed_denormals()
def search(
    make: Callable[[], Learner], splits: Splits, config: HeadTraining, seed: int, saved: Saved, hooks: Hooks
) -> Saved:
    """Train `make()` at each rate, resuming from `saved`; return the last state, whose `chosen` is the best head found.

    Raises RunError if every rate's loss is not a number.
    """
    while saved.rate < len(config.rates):
        saved = _train_rate(make(), splits, config, seed, saved, hooks)
    if saved.chosen is None:
        raise RunError(f"training failed at every learning rate of {config.rates}: the loss is not a number")
    return saved


def _train_rate(learner: Learner, splits: Splits, config: HeadTraining, seed: int, saved: Saved, hooks: Hooks) -> Saved:
    rate = config.rates[saved.rate]
    groups = learner.parameter_groups(rate)
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    peaks = [group["lr"] for group in groups]
    saved.restore(learner, optimizer)
    order = _order(len(splits.train.examples), config.batch_size, seed, saved.step)
    last_save = time.monotonic()
    for step in range(saved.step, config.steps):
        batch = splits.train.batch(next(order))
        with _training(learner, seed, step):
            loss = loss_of(scores_of(learner, batch, splits.train.kind), batch, splits.train.kind)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        fill_missing(learner.trained_parameters().values())
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            torch.nn.utils.clip_grad_norm_(group["params"], MAX_GRAD_NORM)
            group["lr"] = peak * min(1.0, (step + 1) / WARMUP_STEPS)
        optimizer.step()
        if (step + 1) % config.evaluate_every and step + 1 < config.steps:
            continue
        saved = saved.looked(learner, optimizer, step + 1, *_validation(learner, splits.validation))
        hooks.report(saved.rate * config.steps + step + 1)
        if saved.stale >= config.patience or not saved.finite:
            break
        if time.monotonic() - last_save >= hooks.seconds:
            hooks.save(saved)
            last_save = time.monotonic()
    saved = saved.next_rate(rate)
    hooks.save(saved)
    return saved


@contextmanager
def _training(learner: Learner, seed: int, step: int) -> Iterator[None]:
    """Turn on dropout, which draws as a function of seed and step; this project's own heads have none."""
    learner.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed((1_000_003 * (seed + 1) + step) % SEEDS)
        yield


def _order(examples: int, batch_size: int, seed: int, step: int) -> Iterator[Sequence[int]]:
    """Yield the batches from a step on: each epoch is a new permutation, its last, smaller batch left out."""
    size = min(batch_size, examples)
    in_epoch = examples // size
    while True:
        epoch, place = divmod(step, in_epoch)
        draws = torch.Generator().manual_seed((1_000_003 * (seed + 1) + epoch) % SEEDS)
        permutation = torch.randperm(examples, generator=draws).tolist()
        for batch in range(place, in_epoch):
            yield permutation[batch * size : (batch + 1) * size]
        step = (epoch + 1) * in_epoch


def _validation(learner: Learner, data: StateData) -> tuple[float, float]:
    """Score and loss of a split."""
    counted, loss = evaluate(learner, data)
    above, below = (sum(column) for column in zip(*counted, strict=True))
    return (above / below if below else 0.0), loss


@torch.no_grad()
def evaluate(learner: Learner, data: StateData) -> tuple[list[Counted], float]:
    """What each example counts, and the mean loss of batches (by size), without dropout."""
    learner.eval()
    counted: list[Counted] = []
    losses: list[Tensor] = []
    for first in range(0, len(data.examples), EVALUATION_BATCH):
        places = range(first, min(first + EVALUATION_BATCH, len(data.examples)))
        batch = data.batch(places)
        scores = scores_of(learner, batch, data.kind)
        counted += [data.judge(place, each) for place, each in zip(places, scores, strict=True)]
        losses.append(loss_of(scores, batch, data.kind) * len(places))
    return counted, float(torch.stack(losses).sum()) / len(data.examples)
