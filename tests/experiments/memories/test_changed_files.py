"""Runs are still shown after their benchmark's file is edited, their data are moved, or other runs are damaged."""

import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.memories.cell import STEPS
from retrieval_gap.experiments.memories.comparison import compared_rows
from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
from retrieval_gap.llm.config import Price
from retrieval_gap.plots.report.memories import shown_memories
from tests.experiments.memories.cells import finished_in
from tests.tasks.streams.files import WEATHER_HEADER, weather_day, written
from tests.tasks.streams.own_benchmark import OWN

RUN = "memory run {} --model scripted:note_taker --method zero_shot,no_update --streams 2 --runs-dir {}"


def own(folder: Path, truth: str = "heads") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "own.py"
    path.write_text(OWN.format(truth={"coin": truth}, steps=4))
    return path


def table(runs_dir: Path) -> list[str]:
    assert main(f"memory table --runs-dir {runs_dir} --csv {runs_dir}.csv".split()) == 0
    return Path(f"{runs_dir}.csv").read_text().splitlines()


def test_editing_a_benchmarks_file_changes_no_table_report_or_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, runs = own(tmp_path / "code"), tmp_path / "runs"
    assert main(f"{RUN.format(path, runs)} --no-floors".split()) == 0
    before, shown = table(runs), shown_memories([runs])
    assert (len(shown[0]), shown[1]) == (2, [])
    path.write_text(path.read_text() + "\n# a remark\n")
    assert table(runs) == before
    assert shown_memories([runs]) == shown
    (run,) = runs.glob("own-zero_shot-*")
    assert main(["memory", "show", str(run)]) == 0
    capsys.readouterr()


def test_moving_the_data_changes_no_table_or_report(tmp_path: Path) -> None:
    lines = [weather_day(day, "rain" if day % 3 else "sun") for day in range(1, 32)]
    path, runs = written(tmp_path, "w.csv", WEATHER_HEADER, *lines), tmp_path / "runs"
    assert main(f"{RUN.format('weather', runs)} --data {path} --steps 8".split()) == 0
    before, shown = table(runs), shown_memories([runs])
    path.rename(tmp_path / "elsewhere.csv")
    assert table(runs) == before
    assert shown_memories([runs]) == shown
    assert len(shown[0]) == 2


def test_two_benchmarks_of_one_name_are_neither_compared_nor_pooled(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for truth, method, seed in (("heads", "zero_shot", 0), ("tails", "no_update", 0), ("tails", "zero_shot", 1)):
        path = own(tmp_path / truth, truth)
        command = f"memory run {path} --model scripted:note_taker --no-floors --method {method} --seed {seed}"
        assert main([*command.split(), "--streams", "2", "--runs-dir", str(runs)]) == 0
    found = finished_in(runs)
    assert {run.whole["benchmark"] for run in found} == {"own"}
    assert pooled_over_seeds(found) == []
    assert [row.get("against") for row in compared_rows(found, "zero_shot", Price())] == [None] * sum(
        len(run.rows) for run in found
    )


def test_a_benchmarks_code_has_the_same_hash_by_a_relative_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own(tmp_path)
    monkeypatch.chdir(tmp_path)
    for written_as, runs in (("./own.py", "relative"), (str(path), "absolute")):
        assert main(f"{RUN.format(written_as, runs)} --no-floors".split()) == 0
    codes = [{run.code for run in finished_in(tmp_path / runs)} for runs in ("relative", "absolute")]
    assert codes[0] == codes[1]
    assert [len(code) for code in codes[0]] == [64]


def test_runs_without_a_kept_benchmark_file_are_told_apart_by_their_steps(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for truth, method in (("heads", "zero_shot"), ("tails", "no_update"), ("tails", "oracle_memory")):
        path = own(tmp_path / truth, truth)
        command = f"memory run {path} --model scripted:note_taker --no-floors --method {method}"
        assert main([*command.split(), "--streams", "2", "--runs-dir", str(runs)]) == 0
    for kept in runs.glob("*/user_files.json"):
        kept.unlink()
    rows = compared_rows(finished_in(runs), "no_update", Price())
    assert {row["method"]: row.get("against") for row in rows if row["part"] == "all"} == {
        "zero_shot": None, "no_update": None, "oracle_memory": "no_update",
    }  # fmt: skip


def test_a_damaged_run_is_reported_and_the_others_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"{RUN.format('drift', tmp_path)} --steps 6 --no-floors".split()) == 0
    (log,) = (run / STEPS for run in tmp_path.glob("drift-no_update-*"))
    head, first, *others = log.read_text().splitlines()
    wrong = json.dumps(json.loads(first) | {"value": 1.0 - json.loads(first)["value"]})
    for damage, told in (
        ([head, "{"], "cannot be read"),
        ([head, "[]"], "has a line that is not a step"),
        ([head], "has a line that is not a step"),
        ([head, wrong, *others], "gives a score of"),
        ([head, first], "gives a score of"),
    ):
        log.write_text("".join(line + "\n" for line in damage))
        capsys.readouterr()
        assert main(["memory", "table", "--runs-dir", str(tmp_path)]) == 1
        printed = capsys.readouterr()
        assert "zero_shot" in printed.out
        assert "no_update" not in printed.out
        assert f"1 run(s) cannot be read; the first: {log}" in printed.err
        assert told in printed.err
        assert printed.err.count("\n") == 1


def test_a_run_whose_configuration_is_lost_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"{RUN.format('drift', tmp_path)} --steps 6 --no-floors".split()) == 0
    (run,) = tmp_path.glob("drift-no_update-*")
    (run / "config.json").write_text("{")
    capsys.readouterr()
    assert main(["memory", "table", "--runs-dir", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "zero_shot" in printed.out
    assert "config.json" in printed.err


def test_a_run_that_was_renamed_is_still_the_same_run(tmp_path: Path) -> None:
    assert main(f"{RUN.format('drift', tmp_path)} --steps 6 --no-floors".split()) == 0
    (run,) = tmp_path.glob("drift-no_update-*")
    run.rename(tmp_path / "mine")
    assert {each.cell.method for each in finished_in(tmp_path)} == {"zero_shot", "no_update"}
