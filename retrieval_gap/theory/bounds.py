"""The bound of each task at each size: the best possible accuracy of any reader with b bits of state.

docs/theory.md has the statements and their proofs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tasks.api import Task
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.asked_first import AskedFirst, one_of_ceiling
from retrieval_gap.theory.best_cells import (
    Scores,
    counting_scores,
    distinct_scores,
    exact_match_scores,
    independent_scores,
)
from retrieval_gap.theory.two_star import two_star_ceiling
from retrieval_gap.theory.word_problems import WordScores

Ceiling = Callable[[ArrayLike], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The one-way communication bound of a task of one size.  Ceilings map an array of any shape of whole numbers of
    bits, 0 or more, to shares that no reader exceeds.

    what: description of the problem.
    ceiling: of right answers.  exact_trace: of samples with every answer right, for tasks with several answers.
    bits_needed: with fewer bits no reader is always right.
    at_query: the bits limit the state between sequence and query; else the state after every token of the prompt.
    search_states: with fewer no reader that searches (`rag`) writes all traces exactly; None if that is not known.
    """

    what: str
    ceiling: Ceiling
    bits_needed: float
    exact_trace: Ceiling | None = None
    at_query: bool = True
    search_states: int | None = None

    def exact_search(self, bits: ArrayLike) -> NDArray[np.float64]:
        """The largest share of `rag` traces that a reader with these (whole) numbers of bits after every token could
        write exactly (docs/theory.md, section 5, "Readers that search"); each rounded up.

        Raises UsageError if no such bound is known, ValueError for bits below zero.
        """
        if self.search_states is None:
            raise UsageError(f"no bound for readers that search is known: {self.what}")
        return one_of_ceiling(bits, self.search_states)


def bound_of(task: Task) -> Bound:
    """The bound of a configured task, over the problems of all splits.  Raises UsageError for a task without one."""
    if task.name not in BOUNDS or not isinstance(task, load_task(task.name)):  # a user's task may have any name
        known = ", ".join(BOUNDS)
        raise UsageError(f"no bound is known for {task.name} (for {known}); one of yours is an entry in {__file__}")
    return BOUNDS[task.name](task)


# Each function below takes the task of its own name, and reads that task's options.


def _index(task: Any) -> Bound:
    length, values = task.config.n, len(task.answers)
    return _recalled(task, f"{length} tokens of {values} values", length)


def _associative_recall(task: Any) -> Bound:
    pairs, values = task.config.n // 2, len(task.answers)
    return _recalled(task, f"{pairs} known keys with one of {values} values each", pairs)


def _cgram_retrieval(task: Any) -> Bound:
    grams, values = task.config.n // task.options.c, len(task.answers)
    return _recalled(task, f"{grams} {task.options.c}-grams that end in one of {values} values", grams)


def _position_retrieval(task: Any) -> Bound:
    n = task.config.n
    if task.asks_first:
        return Bound(
            what=f"the place of a token that is known, among {n}",
            ceiling=lambda bits: one_of_ceiling(bits, n),
            bits_needed=math.log2(n),
            at_query=False,
            search_states=2 * n,
        )
    return _cells(f"the places of {n} tokens", distinct_scores(n, n), search_states=n)


def _last_write(task: Any) -> Bound:
    variables, values = task.options.variables, task.options.values
    floor = f"the value that a variable was given most often is right in {task.accuracy_without_order:.4f} of all cases"
    what = f"{variables} variables with one of {values} values each; {floor}"
    return _cells(what, independent_scores(variables, values), search_states=max(variables, values))


def _find_path(task: Any) -> Bound:
    what = f"two chains of {task.links} links, with dead ends, whose names and shape are known"
    return _cells(what, independent_scores(int(task.bits_to_cross), 2), several=task.asks_path)


def _word_problem(task: Any) -> Bound:
    scores = WordScores(tuple(map(tuple, task.words_by_product())), each=task.questions > 1)
    where = "after each" if scores.each else "at the end"
    return Bound(
        what=f"products of up to {task.config.n} elements of {task.options.group}, {where}",
        ceiling=scores.ceiling,
        bits_needed=math.log2(scores.states_needed),
        exact_trace=scores.exact_trace if scores.each else None,
        at_query=not scores.each,
    )


def _counting(task: Any) -> Bound:
    most = task.options.most
    letters = task.config.n // most
    return _cells(f"counts of 0 to {most} of {letters} letters", counting_scores(letters, most))


def _copy(task: Any) -> Bound:
    length, values = task.config.n, len(task.answers)
    return _cells(f"{length} tokens of {values} values", independent_scores(length, values), several=True)


def _mqar(task: Any) -> Bound:
    pairs, values = task.questions, len(task.answers)
    return _cells(f"{pairs} keys with different ones of {values} values", distinct_scores(pairs, values), several=True)


def _recalled(task: Any, what: str, items: int) -> Bound:
    """The bound for independent values and a query for one of them, which comes last or first."""
    values = len(task.answers)
    if not task.asks_first:
        return _cells(what, independent_scores(items, values), search_states=max(items, values))
    asked = AskedFirst(items=items, alphabet=values)
    return Bound(
        what=f"{what}, asked first",
        ceiling=asked.ceiling,
        bits_needed=math.log2(asked.states_needed),
        at_query=False,
        search_states=items + values,
    )


def _cells(what: str, scores: Scores, several: bool = False, search_states: int | None = None) -> Bound:
    return Bound(
        what=what,
        ceiling=scores.ceiling,
        bits_needed=math.log2(scores.inputs),
        exact_trace=exact_match_scores(scores.inputs).ceiling if several else None,
        search_states=search_states,
    )


def _istree(task: Any) -> Bound:
    n = task.config.n
    if task.family != "two_star":
        raise unknown("bounded family of istree", task.family, ["two_star"])
    return Bound(
        what=f"two-star graphs of {n} nodes, and a state of so many bits after every edge",
        ceiling=lambda bits: two_star_ceiling(n, bits),
        bits_needed=float(n - 3),
        at_query=False,
    )


BOUNDS: dict[str, Callable[[Any], Bound]] = {
    "index": _index,
    "associative_recall": _associative_recall,
    "cgram_retrieval": _cgram_retrieval,
    "counting": _counting,
    "copy": _copy,
    "mqar": _mqar,
    "istree": _istree,
    "position_retrieval": _position_retrieval,
    "last_write": _last_write,
    "word_problem": _word_problem,
    "find_path": _find_path,
}
