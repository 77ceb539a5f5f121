"""The value of a search: the best accuracy on Index with b bits of state and an oracle, exactly, at small sizes.

Theorem 5.1 of "RNNs are not Transformers (Yet)" (Wen, Dang, Lyu, ICLR 2025): with O(log n) bits and associative recall
as an oracle, Index is out of reach; with regular expressions it is not (theorem 5.2).  The language of the search is
what matters.

A *reader with an oracle* turns the input x into one of 2^b states.  Then it gets a question q, and may send any number
of queries to the oracle, each chosen from the state, q and the results so far.  The result of a query is a function of
x, because the rest of the text is q and the reader's own output, which it knows.

Let T(x), the *table* of x, be the results of all possible queries.  The inputs with the same table are a class.

**Statement.** The best accuracy of a reader with b bits and the oracle is the sum, over classes, of the probability of
the class times the best accuracy of a reader with b bits and no oracle on the inputs of that class.

**Proof.** At most: give the reader T(x) for free, which answers all its queries.  On the inputs of one class it is then
a function from states and questions to answers: a reader without an oracle, which is at most as good as the best one.
At least: take the best reader of each class.  The side that sees x knows the class, and writes the state of that
class's reader; the other side sends every query (there are finitely many), so it knows the class too, and answers as
that class's reader does. ∎

`best_with_oracle` adds up these optima, each exact by `problems.best_accuracy`.  For any size: with K classes, a reader
with b bits and the oracle is a reader with b + log2 K bits and no oracle, which also stores the class; the ceiling of
docs/theory.md holds for it (`ceiling_with_recall`).  On an alphabet of a symbols associative recall has
K <= (a + 1)^a + a (a + 1)^(a - 1) tables at any length: a constant number of additional bits.  (Each symbol does not
occur, or is followed by one of a symbols; only the input's last symbol can be followed by nothing.)
"""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import re2

from retrieval_gap.theory.best_cells import independent_scores
from retrieval_gap.theory.constructions.repetition import skip_words
from retrieval_gap.theory.problems import Problem, best_accuracy, index_problem

DECIMALS = 12  # to which sums of many small probabilities are exact

Word = Sequence[int]
Oracle = Callable[[Word], Hashable]
"""From an input to its table: what each of the oracle's queries finds in it."""


def nothing(word: Word) -> Hashable:
    """No oracle: all inputs are in one class."""
    return ()


def recall_first(word: Word) -> Hashable:
    """Associative recall: for each symbol, what follows its first occurrence (None at the end of the input)."""
    pairs = zip(word, [*word[1:], None], strict=True)
    return frozenset(dict(reversed(list(pairs))).items())  # an earlier pair of a symbol replaces a later one


def regular_expressions(word: Word) -> Hashable:
    """What RE2 finds in the input's text for the patterns of Index's `rag` view, one for each place."""
    text = " ".join(map(str, word))
    found = (re2.search(skip_words(place), text) for place in range(len(word)))
    return tuple(match.group(1) if match else None for match in found)


def classes(oracle: Oracle, inputs: Iterable[Word]) -> list[list[int]]:
    """The indices of the inputs of each class."""
    found: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, word in enumerate(inputs):
        found[oracle(word)].append(number)
    return list(found.values())


def best_with_oracle(problem: Problem, parts: Sequence[Sequence[int]], bits: int) -> float:
    """The optimum over all readers with `bits` bits and an oracle whose classes are `parts`.

    Raises ValueError for a class of more than `problems.MOST_INPUTS` inputs.
    """
    of_class = (Problem(problem.weight_XxQ[part], problem.answer_XxQ[part]) for part in parts)
    return round(sum(best_accuracy(one, bits) for one in of_class), DECIMALS)


def tables_of_recall(alphabet: int) -> int:
    """An upper bound on the number of tables of associative recall, over inputs of any length."""
    others = (alphabet + 1) ** (alphabet - 1)
    return (alphabet + 1) * others + alphabet * others


def ceiling_with_recall(length: int, alphabet: int, bits: int) -> float:
    """An accuracy on Index that no reader with `bits` bits and associative recall exceeds, at any length."""
    table_bits = math.ceil(math.log2(tables_of_recall(alphabet)))
    return float(independent_scores(length, alphabet).ceiling(np.array(bits + table_bits)))


@dataclass(frozen=True, kw_only=True)
class OracleRow:
    """Best accuracies on Index with `bits` bits of state.

    alone: a ceiling (docs/theory.md).  recall (`recall_first`), regular_expressions: optima.
    """

    length: int
    alphabet: int
    bits: int
    alone: float
    recall: float
    regular_expressions: float


def oracle_rows(length: int, alphabet: int, bits: Iterable[int]) -> list[OracleRow]:
    """Theorem 5.1 in numbers.  Raises ValueError for sizes too large for an exact search."""
    problem, inputs = index_problem(length, alphabet), list(product(range(alphabet), repeat=length))
    recall, expressions = classes(recall_first, inputs), classes(regular_expressions, inputs)
    alone = independent_scores(length, alphabet).ceiling
    return [
        OracleRow(
            length=length,
            alphabet=alphabet,
            bits=b,
            alone=float(alone(np.array(b))),
            recall=best_with_oracle(problem, recall, b),
            regular_expressions=best_with_oracle(problem, expressions, b),
        )
        for b in bits
    ]
