"""Chooses the learning rate of each model in the same way, so that a comparison of architectures is fair.

Recurrent models learn recall in a narrow window of rates (Okpekpe and Orvieto 2025, arXiv 2508.19029), so one rate for
all would compare tuning.  The protocol: every model is trained at every rate of a grid, with the same seeds, tokens,
warm-up, clipping and precision, and evaluated on the validation split.  While the best rate of a model is at an edge of
the rates tried, the grid is widened there by its own ratio.  At the best rate fresh seeds are trained and evaluated on
the test split.  Nothing here trains: the caller runs the cells of each round (choose.py).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, median_low
from typing import Any

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.experiment import Row

CONVERGED = 0.9  # the least accuracy of a run that has learned its task
NEAR_BEST = 0.95  # the least share of the best accuracy in the window
MOST_WIDENINGS = 4
SMALLEST, LARGEST = 1e-6, 1.0

Runner = Callable[[list[RunConfig]], Sequence[Mapping[str, Any]]]
"""Runs these cells, or finds them done; the rows of all of them, in any order."""


@dataclass(frozen=True)
class RateSearch:
    """The validation accuracies of one model's seeds at each rate that was tried.

    Raises UsageError for fewer than two rates.
    """

    accuracies: Mapping[float, Sequence[float]]

    def __post_init__(self) -> None:
        check_rates(list(self.accuracies))

    @cached_property
    def rates(self) -> list[float]:
        """From the smallest to the largest."""
        return sorted(self.accuracies)

    def mean(self, rate: float) -> float:
        return fmean(self.accuracies[rate])

    @cached_property
    def best(self) -> float:
        """The rate with the highest mean; of several the middle one, which has the most room on both sides."""
        highest = max(map(self.mean, self.rates))
        return median_low([rate for rate in self.rates if self.mean(rate) == highest])

    def wider(self) -> float | None:
        """The next rate beyond the edge where the best one is, by the grid's own ratio there, to 3 digits.

        None if the best is not at an edge, or the next would be outside SMALLEST to LARGEST.
        """
        if self.best == self.rates[-1]:
            following = self.rates[-1] ** 2 / self.rates[-2]
        elif self.best == self.rates[0]:
            following = self.rates[0] ** 2 / self.rates[1]
        else:
            return None
        rounded = float(f"{following:.3g}")
        return rounded if SMALLEST <= rounded <= LARGEST and rounded not in self.accuracies else None

    @cached_property
    def window(self) -> tuple[float, float] | None:
        """The lowest and the highest of the neighbouring rates around the best that keep NEAR_BEST of its accuracy.

        None if the best has not learned the task (CONVERGED): then all rates keep the accuracy of guessing.
        """
        if self.mean(self.best) < CONVERGED:
            return None
        wanted, place = NEAR_BEST * self.mean(self.best), self.rates.index(self.best)
        low = high = place
        while low > 0 and self.mean(self.rates[low - 1]) >= wanted:
            low -= 1
        while high + 1 < len(self.rates) and self.mean(self.rates[high + 1]) >= wanted:
            high += 1
        return self.rates[low], self.rates[high]

    @property
    def decades(self) -> float | None:
        """The width of the window; 0 if it has a single rate, None if there is no window."""
        return None if self.window is None else math.log10(self.window[1] / self.window[0])

    @property
    def window_is_open(self) -> bool:
        """Whether the window ends at an edge of the rates tried, so that it may be wider."""
        return self.window is not None and (self.window[0] == self.rates[0] or self.window[1] == self.rates[-1])

    def told_window(self) -> str:
        """Such as "window 0.001 to 0.01, 1.00 decades or more"."""
        if self.window is None or self.decades is None:
            return f"no window, as no rate reaches {CONVERGED:g}"
        width = f"{self.decades:.2f} decades" + " or more" * self.window_is_open
        return f"window {self.window[0]:g} to {self.window[1]:g}, {width}"


def share_converged(accuracies: Sequence[float]) -> float:
    """The share of runs that reach CONVERGED."""
    return fmean(accuracy >= CONVERGED for accuracy in accuracies)


def check_rates(rates: Sequence[float]) -> None:
    """Raises UsageError for fewer than two different rates, and for one that is out of range."""
    different = sorted(set(rates))
    if len(different) < 2:
        named = ", ".join(f"{rate:g}" for rate in different) or "none"
        raise UsageError(f"--choose lr needs two learning rates or more, such as --lr 1e-3,3e-3,1e-2; --lr has {named}")
    wrong = [rate for rate in different if not SMALLEST <= rate <= LARGEST]
    if wrong:
        raise UsageError(f"--lr {wrong[0]:g} is out of range with --choose lr: expected {SMALLEST:g} to {LARGEST:g}")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One model's rates, and its rows: those of all rates on validation, and of fresh seeds at the best one on test."""

    model: RunConfig
    search: RateSearch
    tried: list[Row]
    fresh: list[Row]

    def line(self) -> str:
        """A line to print: the budget, the chosen rate, the window, and what fresh seeds reach with it."""
        accuracies = [float(row["accuracy"]) for row in self.fresh]
        tried = ", ".join(f"{rate:g} {self.search.mean(rate):.3f}" for rate in self.search.rates)
        model, converged = self.model, f"{share_converged(accuracies):.0%} converged"
        problem = f"{model.task} {model.mode} n={model.n} {model.options}".rstrip()
        return (
            f"{problem}, {model.arch} {model.size}, {model.samples:,} samples a run:"
            f" lr {self.search.best:g} (tried {tried}); {self.search.told_window()};"
            f" {len(accuracies)} fresh seed{'s' * (len(accuracies) > 1)}: {fmean(accuracies):.3f}, {converged}"
        )

    def rows(self) -> list[Row]:
        """All rows, each with what was tried and found; `chosen` is 1 for those of fresh seeds, and the columns of the
        window are empty if there is none."""
        low, high = self.search.window or (None, None)
        told = {
            "tried_lr": " ".join(f"{rate:g}" for rate in self.search.rates),
            "window_low": low,
            "window_high": high,
            "window_decades": None if self.search.decades is None else round(self.search.decades, 4),
        }
        every = [(row, 0) for row in self.tried] + [(row, 1) for row in self.fresh]
        return [
            dict(row) | told | {"converged": int(float(row["accuracy"]) >= CONVERGED), "chosen": chosen}
            for row, chosen in every
        ]


def first_round(cells: Sequence[RunConfig]) -> list[RunConfig]:
    """The grid itself, on the validation split.  Raises UsageError for a model with fewer than two rates."""
    first = list(dict.fromkeys(replace(cell, eval_split="validation", lr=cell.training().lr) for cell in cells))
    for model in dict.fromkeys(map(_model_of, first)):
        check_rates([cell.lr for cell in first if _model_of(cell) == model])
    return first


def choose_rates(cells: Sequence[RunConfig], run: Runner) -> list[Chosen]:
    """Run the protocol for every model among the cells (all but rate and seed); `run` is called once per round, for all
    models together.

    There are as many fresh seeds as seeds of the cells, numbered after them.
    Raises UsageError for a model with fewer than two rates, or if a row is missing.
    """
    models: dict[RunConfig, dict[RunConfig, Row]] = defaultdict(dict)
    added = first_round(cells)
    for _ in range(1 + MOST_WIDENINGS):
        for cell, row in _rows(added, run).items():
            models[_model_of(cell)][cell] = row
        wider = {model: _search(tried).wider() for model, tried in models.items()}
        added = [cell for model, rate in wider.items() if rate for cell in _at(model, rate, _seeds(models[model]))]
        if not added:
            break
    searches = {model: _search(tried) for model, tried in models.items()}
    fresh = {model: _fresh(model, searches[model].best, _seeds(tried)) for model, tried in models.items()}
    rows = _rows([cell for more in fresh.values() for cell in more], run)
    return [
        Chosen(
            model=model, search=searches[model], tried=list(tried.values()), fresh=[rows[cell] for cell in fresh[model]]
        )
        for model, tried in models.items()
    ]


def _model_of(cell: RunConfig) -> RunConfig:
    return replace(cell, lr=0.0, seed=0)


def _seeds(cells: Iterable[RunConfig]) -> list[int]:
    return sorted({cell.seed for cell in cells})


def _at(model: RunConfig, rate: float, seeds: Iterable[int]) -> list[RunConfig]:
    return [replace(model, lr=rate, seed=seed) for seed in seeds]


def _fresh(model: RunConfig, rate: float, seeds: Sequence[int]) -> list[RunConfig]:
    following = range(max(seeds) + 1, max(seeds) + 1 + len(seeds))
    return _at(replace(model, eval_split="test"), rate, following)


def _rows(cells: Sequence[RunConfig], run: Runner) -> dict[RunConfig, Row]:
    rows = {row["config_hash"]: dict(row) for row in run(list(cells))}
    missing = [cell.label() for cell in cells if cell.hash() not in rows]
    if missing:
        raise UsageError(f"--choose lr: {missing[0]} is not finished, and no rate can be chosen without it; call again")
    return {cell: rows[cell.hash()] for cell in cells}


def _search(tried: Mapping[RunConfig, Row]) -> RateSearch:
    accuracies: dict[float, list[float]] = defaultdict(list)
    for cell, row in tried.items():
        accuracies[cell.lr].append(float(row["accuracy"]))
    return RateSearch(accuracies)
