"""Last write: read assignments to m variables, then one of them; name the value that it was given last.

Binding as in FactWorld (ianbarber/factworld, 2026), without its shortcuts: n tokens are n/2 assignments of one of
`values` numbers to one of m = `variables` letters.  The final values are uniform, so m log2(values) bits must cross
from the sequence to the query, *whatever its length*: here a state of fixed size is the right tool, and what has to be
learned is to overwrite.

The places of the last writes are uniform too: the last assignment is one of them, the others are a uniform choice of
the places before, in a uniform order of the variables.  Every other assignment is to a variable whose last write is
still to come, uniform among these, with a uniform value.  So the last write of the variable asked for (uniform) can be
anywhere in the sequence, and "the last value read" is right for only one variable of m.  The remaining floor names the
value that the variable was given most often, which needs no order: `accuracy_without_order`, by exact recursions.

Worked example, n = 10, two variables, 16 values:

    direct  [BOS] a 3 b 0 a 7 b 12 b 5 [EOS] a 7
    rag     [BOS] a 3 b 0 a 7 b 12 b 5 [EOS] a [STARTSEARCH] ^.*\\s a \\s(\\d+) [ENDSEARCH] 7 [EOS] 7

Axes: B samples, L positions, N tokens of the sequence, M variables, W writes of a variable.

    >>> from retrieval_gap.tasks.registry import shown
    >>> print(shown("last_write", n=6, mode="direct"))  # doctest: +NORMALIZE_WHITESPACE
    [BOS] c 8 b 9 a 6 [EOS] a 6
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from .api import (
    CONTROL_TOKENS,
    ENDSEARCH,
    EOS,
    FAILED,
    STARTSEARCH,
    Batch,
    TaskConfig,
    TaskError,
    TaskOptions,
    check_option,
)
from .compiled import njit
from .randomness import SPLITS, Rng, below, hash_on, mix, split_of, start
from .recall import FEWEST_BITS, Ints, Piece, RecallTask, letters, shuffle, write_traces

# The search is greedy, so that it finds the last write.
LAST_OF, VALUE = r"^.*\s", r"\s(\d+)"
MOST_VARIABLES, MOST_VALUES = 128, 512

_LAST_OF = len(CONTROL_TOKENS)
_VALUE = _LAST_OF + 1
_VALUE_0 = _VALUE + 1


@dataclass(frozen=True, kw_only=True)
class LastWriteOptions(TaskOptions):
    """variables: number of variables; 0 means 8, or n/2 if that is less.  values: number of values of a variable."""

    variables: int = 0
    values: int = 16


class LastWrite(RecallTask):
    """The task; every variable is written.  Raises TaskError for an odd n and invalid options."""

    name: ClassVar[str] = "last_write"
    n_range: ClassVar[tuple[int, int]] = (4, 4096)
    options_type: ClassVar[type[TaskOptions]] = LastWriteOptions
    options: LastWriteOptions

    def __init__(self, config: TaskConfig) -> None:
        if config.n % 2:
            raise TaskError(f"{self.name}: {self.size_flag} {config.n} is odd, and an assignment is two tokens")
        super().__init__(config)

    def settle(self, options: LastWriteOptions, n: int) -> LastWriteOptions:
        options = replace(options, variables=options.variables or min(8, n // 2))
        check_option(self.name, "variables", options.variables, 2, min(n // 2, MOST_VARIABLES))
        check_option(self.name, "values", options.values, 2, MOST_VALUES)
        if options.values**options.variables < 2**FEWEST_BITS:
            held = f"{options.variables} variables of {options.values} values hold less than {FEWEST_BITS} bits"
            raise TaskError(f"{self.name}: {held}, and every split needs some: raise --variables or --values")
        return options

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        values = map(str, range(self.options.values))
        return (*CONTROL_TOKENS, LAST_OF, VALUE, *values, *letters(self.options.variables))

    @property
    def answers(self) -> tuple[int, ...]:
        return tuple(range(_VALUE_0, _VALUE_0 + self.options.values))

    @property
    def bits_to_cross(self) -> float:
        return self.options.variables * math.log2(self.options.values)

    @property
    def max_length(self) -> int:
        """All traces have this length: n + 3 tokens of prompt, and 1 or 8 of target."""
        return self.config.n + (4 if self.config.mode == "direct" else 11)

    @cached_property
    def accuracy_without_order(self) -> float:
        """The best accuracy of a reader that knows how often the variable was given each value, but not in which order:
        any of its W writes may be the last one, so this is the mean share of the most frequent value.

        Goes from the last assignment back: with r of the m last writes not yet placed, place t has one of them with
        chance r/t; else it writes one of the m - r variables that have their last write after it.
        """
        m, writes = self.options.variables, self.config.n // 2
        unread_M, read_MxW = np.zeros(m + 1), np.zeros((m + 1, writes + 1))  # of the variable asked for, by m - r
        unread_M[1], read_MxW[1, 1] = 1 - 1 / m, 1 / m
        active_M = np.arange(m + 1)
        for place in range(writes - 1, 0, -1):
            is_last_M = np.maximum(m - active_M, 0) / place
            again_M = (1 - is_last_M) / np.maximum(active_M, 1)
            stay_MxW = ((1 - is_last_M) - again_M)[:, None] * read_MxW
            stay_MxW[:, 1:] += again_M[:, None] * read_MxW[:, :-1]
            stay_MxW[1:] += is_last_M[:-1, None] * read_MxW[:-1]
            stay_MxW[1:, 1] += unread_M[:-1] / place
            left_M = (1 - is_last_M) * unread_M
            left_M[1:] += np.maximum(m - active_M[:-1] - 1, 0) / place * unread_M[:-1]
            unread_M, read_MxW = left_M, stay_MxW
        return float((read_MxW[:, 1:] * share_of_most_frequent(writes, self.options.values)).sum())

    def sample(self, index_B: NDArray[np.int64]) -> Batch:
        index_B, m = np.asarray(index_B, np.int64), self.options.variables
        token_BxN = np.empty((len(index_B), self.config.n), np.int32)
        held_BxM, asked_B = np.empty((len(index_B), m), np.int32), np.empty(len(index_B), np.int32)
        split = SPLITS.index(self.config.split)
        _sample_problems(self.problem_key, index_B, split, self.options.values, held_BxM, token_BxN, asked_B)
        answer_B = _VALUE_0 + held_BxM[np.arange(len(held_BxM)), asked_B]
        query_B = _VALUE_0 + self.options.values + asked_B
        prompt = self.prompt([token_BxN], query_B)
        if self.config.mode == "direct":
            return write_traces(prompt, [answer_B])
        search: list[Piece] = [STARTSEARCH, _LAST_OF, query_B, _VALUE, ENDSEARCH, answer_B]
        return write_traces(prompt, [*search, EOS, answer_B])

    def search_pattern(self, query: Sequence[str]) -> str | None:
        variables = self.vocabulary[_VALUE_0 + self.options.values :]
        formed = len(query) == 3 and query[0] == LAST_OF and query[1] in variables and query[2] == VALUE
        return "".join(query) if formed else None

    def fast_search(self, tokens_BxL: NDArray[np.int32], length_B: NDArray[np.int32]) -> NDArray[np.int32]:
        result_B = np.empty(len(tokens_BxL), np.int32)
        _search_rows(tokens_BxL, length_B, _VALUE_0 + self.options.values, result_B)
        return result_B


TASK = LastWrite


def share_of_most_frequent(most: int, values: int) -> NDArray[np.float64]:
    """The mean share of the most frequent value among W = 1..most draws, uniform over `values`.

    Adds one value at a time: none of v values has more than c of W draws if the last one has k <= c of them (binomial)
    and none of the other v - 1 has more than c of the rest.  Axes: C counts, W draws.  Counts beyond those computed
    have a chance below 1e-9 (Bernstein's inequality).
    """
    mean = most / values
    drawn_W, count_Cx1 = np.arange(most + 1), np.arange(min(most, math.ceil(mean + 7 * mean**0.5 + 20)))[:, None]
    others_CxW = drawn_W - count_Cx1
    log_factorial = np.append(0.0, np.log(np.arange(1, most + 1)).cumsum())
    log_ways_CxW = log_factorial - log_factorial[count_Cx1] - log_factorial[np.maximum(others_CxW, 0)]
    no_more_CxW = (drawn_W <= count_Cx1).astype(np.float64)  # of a single value
    for among in range(2, values + 1):
        chance_CxW = np.exp(log_ways_CxW - count_Cx1 * math.log(among) + others_CxW * math.log1p(-1 / among))
        no_more_CxW = _one_value_more(chance_CxW, no_more_CxW)
    return (1 - no_more_CxW[:, 1:]).sum(0) / drawn_W[1:]


@njit(cache=True, nogil=True)
def _one_value_more(chance_CxW: NDArray[np.float64], fewer_CxW: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each largest count c, the sum over k <= c of the chance of k times `fewer_CxW` at the draws left by k."""
    counts, draws = chance_CxW.shape
    no_more_CxW = np.zeros((counts, draws))
    for c in range(counts):
        for k in range(min(c + 1, draws)):
            for w in range(k, draws):
                no_more_CxW[c, w] += chance_CxW[k, w] * fewer_CxW[c, w - k]
    return no_more_CxW


@njit(cache=True, nogil=True)
def _write_assignments(rng: Rng, order_M: Ints, held_M: Ints, values: int, token_N: Ints) -> None:
    """Write assignments from the last one back; variables enter in the order given, at their last writes."""
    active, m = 0, len(order_M)
    variable_0 = _VALUE_0 + values
    places = len(token_N) // 2
    for place in range(places - 1, -1, -1):
        if place == places - 1 or below(rng, place + 1) < m - active:
            variable = order_M[active]
            value, active = held_M[variable], active + 1
        else:
            variable, value = order_M[below(rng, active)], below(rng, values)
        token_N[2 * place], token_N[2 * place + 1] = variable_0 + variable, _VALUE_0 + value


@njit(cache=True, nogil=True)
def _sample_problems(
    key: np.uint64, index_B: NDArray[np.int64], split: int, values: int, held_BxM: Ints, token_BxN: Ints, asked_B: Ints
) -> None:
    """Draw the final values until the split owns them, then the assignments and the variable asked for."""
    rng = np.empty(1, np.uint64)
    m = held_BxM.shape[1]
    order_M = np.empty(m, np.int32)
    for b in range(len(index_B)):
        attempt, owner = 0, -1
        while owner != split:
            start(rng, key, index_B[b], attempt)
            attempt += 1
            held_hash = np.uint64(m)
            for k in range(m):
                held_BxM[b, k] = below(rng, values)
                held_hash = hash_on(held_hash, held_BxM[b, k])
            owner = split_of(mix(held_hash))
        for k in range(m):
            order_M[k] = k
        shuffle(rng, order_M)
        _write_assignments(rng, order_M, held_BxM[b], values, token_BxN[b])
        asked_B[b] = below(rng, m)


@njit(cache=True, nogil=True)
def _search_rows(tokens_BxL: Ints, length_B: Ints, variable_0: int, result_B: Ints) -> None:
    """The result of the search that ends each row: the last value that follows its variable."""
    for b in range(len(tokens_BxL)):
        end, result_B[b] = length_B[b] - 1, FAILED
        begin = end - 4
        if begin < 0 or tokens_BxL[b, end] != ENDSEARCH or tokens_BxL[b, begin] != STARTSEARCH:
            continue
        variable = tokens_BxL[b, begin + 2]
        formed = tokens_BxL[b, begin + 1] == _LAST_OF and tokens_BxL[b, begin + 3] == _VALUE
        if not formed or variable < variable_0:
            continue
        for t in range(begin - 2, 0, -1):
            value = tokens_BxL[b, t + 1]
            if tokens_BxL[b, t] == variable and _VALUE_0 <= value < variable_0:
                result_B[b] = value
                break
