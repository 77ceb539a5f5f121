"""A reader that searches needs a state for each question: no table of states does with fewer, and one with as many
writes every trace."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import bound_of
from tests.tasks.words import rows

BEFORE, AFTER = "(", ")"  # the pieces of a search around its question


def most_exact(states: int, questions: int) -> int:
    """The most questions whose traces, up to the piece after the question, one table of states and tokens writes."""
    asked = range(questions)
    tokens = [*asked, "[", BEFORE]
    best = 0
    for entries in product(range(states), repeat=states * len(tokens)):
        table = dict(zip(product(range(states), tokens), entries, strict=True))
        written = []
        for q in asked:
            state, wanted = 0, {}  # 0: the state after the sequence
            for token, then in ((q, "["), ("[", BEFORE), (BEFORE, q), (q, AFTER)):
                if wanted.setdefault((state, token), then) != then:
                    break
                state = table[state, token]
            else:
                written.append(wanted)
        for chosen in product((False, True), repeat=len(written)):
            outputs = [pair for wanted, take in zip(written, chosen, strict=True) if take for pair in wanted.items()]
            if len(dict(outputs)) == len(set(outputs)):
                best = max(best, sum(chosen))
    return best


@pytest.mark.parametrize(("states", "questions"), [(2, 2), (2, 3), (2, 4)])
def test_no_table_of_states_writes_more_traces_than_the_bound(states: int, questions: int) -> None:
    assert most_exact(states, questions) == min(states, questions)


@dataclass(frozen=True, kw_only=True)
class Searcher:
    """Reads a sequence in state 1 and the question in state 0; then its state is the question's number until that is
    written, and at last the value's.  A question with a larger number than the states have is taken for number 0.

    before, after: the pieces of a search around its question.
    """

    states: int
    questions: list[str]
    values: list[str]
    before: str
    after: str

    def writes(self, state: int, word: str) -> str:
        """The next word, from the state before a word and the word."""
        if word in self.questions:
            return self.after if state == 1 else "[STARTSEARCH]"
        if word == self.before:
            return self.questions[state]
        if word == "[EOS]":
            return self.values[min(state, len(self.values) - 1)]
        return {"[STARTSEARCH]": self.before, self.after: "[ENDSEARCH]"}.get(word, "[EOS]")

    def next(self, state: int, word: str) -> int:
        if word in ("[BOS]", self.before):
            return 1
        if word == self.after or (word == "[EOS]" and state == 1):
            return 0
        if state == 0 and word in (*self.questions, *self.values):
            number = (self.questions if word in self.questions else self.values).index(word)
            return number if number < self.states else 0
        return state


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "n", "options"),
    [
        ("index", 8, "values=2"),
        ("index", 11, "values=2"),
        ("associative_recall", 16, "values=2"),
        ("last_write", 40, "variables=9 values=2"),
    ],
)
def test_a_table_of_states_reaches_the_bound_on_sampled_traces(name: str, n: int, options: str, bits: int) -> None:
    task = load_task(name)(TaskConfig(n=n, mode="rag", options=options))
    exact: dict[str, bool] = {}
    samples = list(rows(task, task.sample(np.arange(1_000))))
    start = samples[0][0].index("[STARTSEARCH]")
    searcher = Searcher(
        states=2**bits,
        questions=sorted({words[start - 1] for words, _ in samples}),
        values=[task.vocabulary[token] for token in task.answers],
        before=samples[0][0][start + 1],
        after=samples[0][0][start + 3],
    )
    for words, graded in samples:
        state, right = 0, True
        for word, following, counts in zip(words, words[1:], graded[1:], strict=False):
            right &= not counts or searcher.writes(state, word) == following
            state = searcher.next(state, word)
            assert state < searcher.states
        exact[words[start - 1]] = exact.get(words[start - 1], True) and right
    assert sum(exact.values()) / len(exact) == pytest.approx(float(bound_of(task).exact_search(bits)), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "searched"),
    [
        ("index", "", 64),
        ("index", "query=first", 64),
        ("associative_recall", "", 32),
        ("cgram_retrieval", "c=4", 16),
        ("last_write", "variables=8", 8),
        ("position_retrieval", "query=first", 64),
    ],
)
def test_a_search_names_one_of_what_can_be_asked_for(name: str, options: str, searched: int) -> None:
    task = load_task(name)(TaskConfig(n=64, mode="rag", options=options))
    bound = bound_of(task)
    assert bound.searched == searched
    assert bound.exact_search([0, 2, 62]).tolist() == [1 / searched, 4 / searched, 1]
    found = {tuple(words[: words.index("[ENDSEARCH]")][words.index("[STARTSEARCH]") :]) for words, _ in
             rows(task, task.sample(np.arange(2_000)))}  # fmt: skip
    assert len(found) == searched


def test_the_command_prints_the_shares_of_exact_traces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("bound associative_recall --length 64 --values 4 --mode rag --bits 4,5".split()) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.endswith("a search names one of 32: no reader's share of exact traces is above")
    assert lines == ["4 bits: 0.5", "5 bits: 1.0"]


def test_a_task_without_a_bound_for_searches_is_an_error() -> None:
    with pytest.raises(UsageError, match="no bound for readers that search is known: counts of"):
        bound_of(load_task("counting")(TaskConfig(n=24, mode="rag"))).exact_search(3)
