"""The budget is hard for every method: no carried text and no memory has more tokens."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.planning import Varied, planned_cells
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.llm.config import LLMConfig
from retrieval_gap.llm.request import Request
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory.memory import Memory
from retrieval_gap.text_memory.scripted import count_tokens, note_taker
from retrieval_gap.text_memory.settings import METHODS, Settings
from tests.llm.scripted_model import ScriptedModel
from tests.text_memory.working import drawn, worked_through

HEADINGS = count_tokens(Memory().text)
MODEL = LLMConfig(model="scripted:note_taker")


def tokens_over_line_ends(text: str) -> int:
    """A count that depends on the order of lines, as with merges over line ends: 2 more for each line out of order."""
    return count_tokens(text) + 2 * sum(first > second for first, second in pairwise(text.split("\n")))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["recall", "drift"])
def test_carried_text_never_exceeds_the_budget(tmp_path: Path, name: str, method: str) -> None:
    def answer(request: Request) -> str:
        return note_taker(f"{request.system}\n\n{request.prompt}")

    steps = {"recall": 0, "drift": 30}[name]
    for budget in (11, 16, 23, 37):
        model = ScriptedModel(answer)
        model.count_tokens = tokens_over_line_ends  # type: ignore[method-assign]
        records = worked_through(tmp_path, drawn(name, steps=steps), method, model, Settings(budget=budget, k=4))
        for record in records:
            assert tokens_over_line_ends(record.carried) == record.carried_tokens <= budget
            assert all(tokens_over_line_ends(v.text) == v.tokens <= budget for v in record.versions)
        nothing = method == "zero_shot" or (name, method) == ("recall", "memprompt")  # no outcome before the end
        assert any(record.carried for record in records) == (not nothing)


@pytest.mark.parametrize("method", ["last_k", "full_history", "episodes", "search"])
def test_a_step_above_the_budget_is_left_out_and_the_others_are_carried(tmp_path: Path, method: str) -> None:
    """Steps with the cue `huge` exceed the budget by themselves, and come among others."""
    huge = "green"

    def count(text: str) -> int:
        return count_tokens(text) + 100 * text.count(huge)

    model = ScriptedModel(lambda request: note_taker(f"{request.system}\n\n{request.prompt}"))
    model.count_tokens = count  # type: ignore[method-assign]
    records = worked_through(tmp_path, drawn("drift", steps=40), method, model, Settings(budget=40, k=4), streams=1)
    places = [place for place, record in enumerate(records) if huge in record.input]
    assert places
    assert places != list(range(len(records)))
    first = next(place for place in range(len(records)) if place not in places)
    assert all(record.carried for record in records[first + 1 :])
    assert not any(huge in record.carried for record in records)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("budget", [1, HEADINGS - 1, HEADINGS])
def test_a_budget_below_the_headings_is_refused_or_kept(tmp_path: Path, method: str, budget: int) -> None:
    chosen = MemoryCell(
        benchmark="recall",
        method=method,
        options="facts=4 values=4",
        streams=1,
        settings=Settings(budget=budget),
        model=MODEL,
    )
    if method in ("llm_as_rnn", "no_update") and budget < HEADINGS:
        with pytest.raises(UsageError, match=f"--budget {budget} is smaller than the {HEADINGS} tokens"):
            perform(chosen, RunOptions(runs_dir=tmp_path, threads=1))
        return
    perform(chosen, RunOptions(runs_dir=tmp_path, threads=1))
    log = read_log(RunDirectory.of(chosen, tmp_path).path / STEPS, chosen.hash())
    assert all(count_tokens(step["carried"]) <= budget for step in log)


def test_of_several_budgets_without_effect_the_largest_is_taken() -> None:
    cell = MemoryCell(benchmark="recall", method="zero_shot", model=MODEL)
    same = Varied(methods=["no_update"], budgets=[256, 3], feedbacks=["truth"], updates=["rewrite"], seeds=[0])
    (chosen,) = planned_cells(cell, same, floors=False)
    assert chosen == replace(cell, method="no_update", settings=Settings(budget=256))


def test_the_command_refuses_such_a_budget_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after no_update was done with a larger budget."""
    run = f"memory run recall --model scripted:prose --method no_update --no-floors --runs-dir {tmp_path} --budget"
    for done_before in (False, True):
        assert main([*run.split(), "3"]) == 2
        line = capsys.readouterr().err.strip().split("\n")[-1]
        assert f"--budget 3 is smaller than the {HEADINGS} tokens of the empty memory's headings" in line
        if not done_before:
            assert main([*run.split(), "256"]) == 0
            assert "no_update" in capsys.readouterr().out
