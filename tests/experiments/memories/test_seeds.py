"""Several seeds (starts and orders of the streams): each seed is a run, and all together give one more row."""

from pathlib import Path
from statistics import fmean, stdev

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.memories.comparison import TABLE_COLUMNS, compared_rows
from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import Price
from retrieval_gap.plots.memories import read_memories
from retrieval_gap.runs.experiment import Row
from retrieval_gap.tables.rows import write_table
from retrieval_gap.text_memory.asking import Speaker
from retrieval_gap.text_memory.dialogue import stream_dialogue
from retrieval_gap.text_memory.lockstep import run_in_lockstep
from retrieval_gap.text_memory.settings import Settings
from retrieval_gap.text_memory.tokens import Counter
from tests.experiments.memories.cells import finished_in
from tests.text_memory.working import drawn, scripted

RUN = "memory run drift --model scripted:note_taker --streams 2 --steps 12 --budget 30 --runs-dir {}"


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    command = f"{RUN.format(folder)} --method zero_shot,llm_as_rnn --feedback truth,shuffled --seed 0,1,2"
    assert main(command.split()) == 0
    return folder


def rows_of(runs_dir: Path) -> list[Row]:
    found = finished_in(runs_dir)
    return compared_rows([*found, *pooled_over_seeds(found)], "zero_shot", Price())


def test_the_pooled_row_covers_all_steps_of_all_seeds(runs_dir: Path) -> None:
    whole = [row for row in rows_of(runs_dir) if row["part"] == "all" and row["method"] == "llm_as_rnn"]
    for feedback in ("truth", "shuffled"):
        single = [row for row in whole if row["feedback"] == feedback and row["seed"] in (0, 1, 2)]
        (pooled,) = [row for row in whole if row["feedback"] == feedback and row["seed"] == "0 1 2"]
        assert (pooled["streams"], pooled["predictions"]) == (6, 72)
        for name in ("score", "right", "difference"):
            assert pooled[name] == pytest.approx(fmean(row[name] for row in single))
        assert pooled["score_sd"] == pytest.approx(stdev(row["score"] for row in single))
        for name in ("calls", "read", "written", "only_this_right", "paired"):
            assert pooled[name] == sum(row[name] for row in single)
        assert pooled["budget"] == 30
        assert pooled["difference_low"] < pooled["difference"] < pooled["difference_high"]


def test_rows_by_step_and_floors_are_pooled_too(runs_dir: Path) -> None:
    pooled = [row for row in rows_of(runs_dir) if row["seed"] == "0 1 2"]
    assert {row["method"] for row in pooled} == {"majority", "as_before", "transitions", "zero_shot", "llm_as_rnn"}
    steps = [row for row in pooled if row["part"] == "steps" and row["method"] == "zero_shot"]
    assert sum(row["predictions"] for row in steps) == 72


def test_runs_of_one_seed_are_not_pooled(tmp_path: Path) -> None:
    assert main(f"{RUN.format(tmp_path)} --method zero_shot".split()) == 0
    assert pooled_over_seeds(finished_in(tmp_path)) == []


def test_a_figure_reads_only_the_pooled_rows(runs_dir: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", TABLE_COLUMNS, rows_of(runs_dir))
    read = read_memories(tmp_path / "t.csv").rows
    assert {row.streams for row in read} == {6}
    assert len([row for row in read if row.part == "all"]) == 6


def test_the_order_of_the_streams_changes_nothing(tmp_path: Path) -> None:
    """Each stream begins with an empty memory, so earlier streams do not affect it."""
    benchmark, backend, settings = drawn("drift", steps=12), scripted("note_taker"), Settings(budget=30)
    found = []
    for order in ([0, 1, 2], [2, 0, 1]):
        cache = Cache(tmp_path / f"{order[0]}.sqlite")
        speakers = [
            Speaker(benchmark, benchmark.stream(i), benchmark.target(""), settings, Counter(backend.count_tokens))
            for i in order
        ]
        client = Client(backend, cache)
        talks = [stream_dialogue(speaker, "llm_as_rnn") for speaker in speakers]
        records = run_in_lockstep(talks, client, client, what="", after_round=lambda ended: None)
        found.append(dict(zip(order, records, strict=True)))
        cache.close()
    assert found[0] == found[1]


def test_an_unknown_value_in_a_list_is_reported_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, wrong, told in (
        ("--feedback", "truth,shufled", "unknown value of --feedback 'shufled'"),
        ("--update", "edit", "did you mean 'edits'"),
        ("--seed", "0,-1", "--seed 0,-1 is invalid"),
    ):
        assert main([*RUN.format("/nowhere").split(), f"{flag}={wrong}"]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
