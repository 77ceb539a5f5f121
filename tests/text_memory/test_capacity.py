"""Recall with models of known accuracy: the ceiling, the knee, and the budget at every step."""

import math
from itertools import product
from pathlib import Path

import pytest

from retrieval_gap.tasks.streams.stream import Benchmark
from retrieval_gap.text_memory.memory import Memory
from retrieval_gap.text_memory.scripted import RULES, VOCABULARY, count_tokens
from retrieval_gap.text_memory.settings import METHODS, Settings
from retrieval_gap.theory.best_cells import independent_scores
from tests.text_memory.working import drawn, scripted, share_right, worked_through

FACTS, VALUES, STREAMS = 8, 4, 6
HEADINGS = count_tokens(Memory().text)
NOTE = count_tokens("- Anna has a cat.")  # tokens of a fact in the memory
FACT = count_tokens("Anna has a cat.")  # tokens of a fact in the oracle's notes
RECALL = f"facts={FACTS} values={VALUES}"


def expected(benchmark: Benchmark, kept: int) -> float:
    """The accuracy of a reader that knows the last `kept` facts, and else answers with the first value."""
    right = asked = 0
    for number in range(STREAMS):
        steps = benchmark.stream(number).steps
        told: dict[str, str] = {}
        for step in steps:
            if step.truth is None:
                key, value = step.input["fact"].rstrip(".").split(" has a ")
                told.pop(key, None)
                told[key] = value
        known = dict(list(told.items())[len(told) - min(kept, len(told)) :])
        for step in steps:
            if step.truth is not None:
                asked += 1
                right += known.get(step.lead.partition(" ")[0], benchmark.targets[0].options[0]) == step.truth["value"]
    return right / asked


@pytest.mark.parametrize(("update", "corrections"), [("rewrite", 0), ("rewrite", 3), ("edits", 0)])
def test_the_perfect_note_taker_is_right_on_facts_that_fit_and_its_knee_is_where_all_facts_fit(
    tmp_path: Path, update: str, corrections: int
):
    benchmark = drawn("recall", f"{RECALL} corrections={corrections}")
    edges = [HEADINGS + NOTE * fitting + beside for fitting in range(1, FACTS + 1) for beside in (-1, 0)]
    for budget in edges:
        settings = Settings(budget=budget, update=update)  # type: ignore[arg-type]
        records = worked_through(tmp_path, benchmark, "llm_as_rnn", scripted("note_taker"), settings, STREAMS)
        fitting = (budget - HEADINGS) // NOTE
        assert share_right(records) == expected(benchmark, fitting)
        assert (share_right(records) == 1.0) == (fitting >= FACTS)


def test_the_oracles_knee_is_where_all_facts_fit_and_it_never_exceeds_the_bound(tmp_path: Path):
    benchmark = drawn("recall", RECALL)
    bound = independent_scores(FACTS, VALUES)
    for budget in range(1, FACT * FACTS + 2):
        settings = Settings(budget=budget)
        records = worked_through(tmp_path, benchmark, "oracle_memory", scripted("note_taker"), settings, STREAMS)
        accuracy = share_right(records)
        assert accuracy == expected(benchmark, budget // FACT)
        assert accuracy <= bound.ceiling(math.ceil(budget * math.log2(VOCABULARY)))
    assert accuracy == 1.0 == bound.ceiling(budget * 10)


def test_a_search_over_the_whole_log_is_right_at_every_budget(tmp_path: Path):
    benchmark = drawn("recall", "facts=30 values=8")
    accuracies = {
        budget: share_right(
            worked_through(tmp_path, benchmark, "search", scripted("note_taker"), Settings(budget=budget, k=1))
        )
        for budget in (6, 20, 500)  # 6 tokens: one whole step
    }
    assert set(accuracies.values()) == {1.0}


@pytest.mark.parametrize(("method", "rule"), list(product(METHODS, RULES)))
def test_no_method_carries_more_than_its_budget_at_any_step_whatever_the_model_writes(
    tmp_path: Path, method: str, rule: str
):
    benchmark = drawn("recall", f"{RECALL} corrections=2")
    for budget in (HEADINGS, HEADINGS + 5, 40):
        records = worked_through(tmp_path, benchmark, method, scripted(rule), Settings(budget=budget), streams=1)
        for record in records:
            assert count_tokens(record.carried) == record.carried_tokens <= budget
            for version in record.versions:
                assert count_tokens(version.text) == version.tokens <= budget


def test_a_method_that_carries_nothing_is_as_good_as_a_guess(tmp_path: Path):
    benchmark = drawn("recall", RECALL)
    for method in ("zero_shot", "no_update", "memprompt"):  # memprompt: no prediction while facts come
        records = worked_through(tmp_path, benchmark, method, scripted("note_taker"), Settings(), STREAMS)
        assert share_right(records) == expected(benchmark, 0)


def test_edits_and_rewriting_give_the_same_memory(tmp_path: Path):
    benchmark = drawn("recall", f"{RECALL} corrections=4")
    texts = []
    for update in ("rewrite", "edits"):
        settings = Settings(budget=200, update=update)  # type: ignore[arg-type]
        records = worked_through(tmp_path, benchmark, "llm_as_rnn", scripted("note_taker"), settings, streams=1)
        last = [version for record in records for version in record.versions][-1]
        texts.append(sorted(last.text.splitlines()))
    assert texts[0] == texts[1]
