"""A reader that searches needs a state for each question and each value, the same ones if the query comes last: no
table of states does with fewer, and one with as many writes every trace."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import bound_of
from tests.tasks.words import rows

Trace = list[tuple[object, object]]  # a token that is read, and the next one if the model writes it


def small_trace(question: int, value: str, *, first: bool) -> Trace:
    """A search without a sequence, whose pieces before and after the question are one token each."""
    prompt: Trace = [(question, None), ("[EOS]", "(")] if first else [(question, "(")]
    return [*prompt, ("(", question), (question, ")"), (")", None), (value, "[EOS]"), ("[EOS]", value)]


def most_exact(states: int, questions: int, values: str, *, first: bool) -> int:
    """The most traces that one table of states and tokens writes exactly."""
    traces = [small_trace(q, v, first=first) for q in range(questions) for v in values]
    tokens = [*range(questions), *values, "(", ")", "[EOS]"]
    most = 0
    for entries in product(range(states), repeat=states * len(tokens)):
        table = dict(zip(product(range(states), tokens), entries, strict=True))
        written = [w for w in (outputs_of(trace, table) for trace in traces) if w is not None]
        for count in range(len(written), most, -1):
            if any(agree(chosen) for chosen in combinations(written, count)):
                most = count
                break
    return most


def outputs_of(trace: Trace, table: dict[tuple[int, object], int]) -> dict[tuple[int, object], object] | None:
    """What has to be written after each state and token, if it is the same each time."""
    state, outputs = 0, {}
    for token, following in trace:
        if following is not None and outputs.setdefault((state, token), following) != following:
            return None
        state = table[state, token]
    return outputs


def agree(chosen: Iterable[dict[tuple[int, object], object]]) -> bool:
    outputs = [pair for each in chosen for pair in each.items()]
    return len(dict(outputs)) == len(set(outputs))


@pytest.mark.parametrize(
    ("states", "questions", "values", "first", "most"),
    [(2, 2, "ab", False, 4), (2, 3, "ab", False, 4), (2, 2, "abc", False, 4), (2, 2, "ab", True, 1)],
)
def test_no_table_of_states_writes_more_traces_than_the_bound(
    states: int, questions: int, values: str, first: bool, most: int
) -> None:
    needed = questions + len(values) if first else max(questions, len(values))
    assert most_exact(states, questions, values, first=first) == most
    assert most <= states / needed * questions * len(values)


@dataclass(frozen=True, kw_only=True)
class Searcher:
    """Query last: state 1 reads the sequence and the question in a search, state 0 the question itself and the result.
    In between the state is the number of the question, or in the end of the value; numbers that are too large are
    taken for 0.  Query first: questions have numbers of their own, after those of the values.

    before, after: the pieces of a search around its question.
    """

    states: int
    questions: list[str]
    values: list[str]
    before: str
    after: str
    first: bool

    @property
    def question_0(self) -> int:
        return len(self.values) if self.first else 0

    def writes(self, state: int, word: str) -> str:
        """The next word, from the state before a word and the word."""
        if word in self.questions:
            return self.after if self.first or state == 1 else "[STARTSEARCH]"
        if word == self.before:
            return self.questions[state - self.question_0]
        if word == "[EOS]":
            return self.values[state] if state < len(self.values) else "[STARTSEARCH]"
        return {"[STARTSEARCH]": self.before, self.after: "[ENDSEARCH]"}.get(word, "[EOS]")

    def next(self, state: int, word: str) -> int:
        if word in ("[BOS]", self.before):
            return 0 if self.first else 1
        if word == self.after or (word == "[EOS]" and state == 1 and not self.first):
            return 0
        if state == 0 and word in (*self.questions, *self.values):
            asked = word in self.questions
            number = self.question_0 + self.questions.index(word) if asked else self.values.index(word)
            return number if number < self.states else 0
        return state


@pytest.mark.parametrize(
    ("name", "n", "options", "bits"),
    [
        *(("index", 8, "values=2", bits) for bits in (1, 2, 3)),
        *(("index", 11, "values=4", bits) for bits in (2, 3, 4)),
        *(("associative_recall", 16, "values=4", bits) for bits in (2, 3)),
        *(("last_write", 40, "variables=9 values=2", bits) for bits in (1, 2, 4)),
        ("index", 12, "values=4 query=first", 4),
        ("associative_recall", 24, "values=4 query=first", 4),
    ],
)
def test_a_table_of_states_reaches_the_bound_on_sampled_traces(name: str, n: int, options: str, bits: int) -> None:
    """A question's share counts as 1 if all its traces are exact, so every value is written too."""
    task = load_task(name)(TaskConfig(n=n, mode="rag", options=options))
    exact: dict[str, bool] = {}
    samples = list(rows(task, task.sample(np.arange(1_000))))
    start = samples[0][0].index("[STARTSEARCH]")
    searcher = Searcher(
        states=2**bits,
        questions=sorted({words[start + 2] for words, _ in samples}),
        values=[task.vocabulary[token] for token in task.answers],
        before=samples[0][0][start + 1],
        after=samples[0][0][start + 3],
        first="query=first" in options,
    )
    for words, graded in samples:
        state, right = 0, True
        for word, following, counts in zip(words, words[1:], graded[1:], strict=False):
            right &= not counts or searcher.writes(state, word) == following
            state = searcher.next(state, word)
            assert state < searcher.states
        exact[words[start + 2]] = exact.get(words[start + 2], True) and right
    assert sum(exact.values()) / len(exact) == pytest.approx(float(bound_of(task).exact_search(bits)), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "searches", "states"),
    [
        ("index", "values=4", 64, 64),
        ("index", "values=128", 64, 128),
        ("index", "values=4 query=first", 64, 68),
        ("associative_recall", "values=4", 32, 32),
        ("cgram_retrieval", "c=4 values=2", 16, 16),
        ("last_write", "variables=8 values=16", 8, 16),
        ("position_retrieval", "query=first", 64, 128),
    ],
)
def test_a_search_names_one_of_what_can_be_asked_for(name: str, options: str, searches: int, states: int) -> None:
    task = load_task(name)(TaskConfig(n=64, mode="rag", options=options))
    found = [words[words.index("[STARTSEARCH]") : words.index("[ENDSEARCH]")] for words, _ in
             rows(task, task.sample(np.arange(2_000)))]  # fmt: skip
    assert len(set(map(tuple, found))) == searches
    assert bound_of(task).exact_search([0, 1, 62]) == pytest.approx([1 / states, 2 / states, 1])


def test_the_command_prints_the_shares_of_exact_traces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound associative_recall --length 64 --values 4 --mode rag --bits 4,5".split()) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.endswith("all traces of a search take 32 states; no reader's share of exact traces is above")
    assert lines == ["4 bits: 0.5", "5 bits: 1.0"]


def test_a_task_without_a_bound_for_searches_is_an_error() -> None:
    with pytest.raises(UsageError, match="no bound for readers that search is known: counts of"):
        bound_of(load_task("counting")(TaskConfig(n=24, mode="rag"))).exact_search(3)
