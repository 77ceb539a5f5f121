"""The table of runs shows which are done, running, partial, failed, missing or unreadable."""

import json
import re
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments import grids as presets
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import RunError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.listing import show_results
from retrieval_gap.runs.sweep import select
from retrieval_gap.tables.rows import COLUMNS, RESULTS, read_table
from retrieval_gap.tasks.api import written_options
from tests.tables.result_rows import full_row, write_full
from tests.training.runs import made_up_row
from tests.training.test_loop import CONFIG

ROW = made_up_row(CONFIG)


def test_a_preset_shows_done_running_partial_failed_and_missing_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [replace(CONFIG, seed=seed) for seed in range(5)]
    monkeypatch.setitem(presets.PRESETS, "smoke", lambda: cells)
    done, running, partial, failed, _missing = runs = [RunDirectory.of(config, tmp_path) for config in cells]
    for config, run in zip(cells[:4], runs, strict=False):
        run.create(config, {})
    done.result.write_text(json.dumps(made_up_row(cells[0])))
    partial.metrics.write_text('{"step": 9, "samples": 1234, "wall_s": 1}\n')
    failed.failure.write_text('{"reason": "the loss is nan"}')
    with running.locked():  # nothing is written yet
        assert [run.status() for run in runs] == ["done", "running", "partial", "failed", "missing"]
        show_results([tmp_path], cells)
    assert running.status() == "partial"
    told = capsys.readouterr().out
    assert "partial, 1,234 samples" in told
    assert "1 done, 1 running, 1 partial, 1 failed, 1 missing" in told


def test_a_folder_without_runs_is_reported_and_a_runs_own_directory_is_that_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show_results([tmp_path])
    assert capsys.readouterr().out == "no runs yet\n"
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    run.result.write_text(json.dumps(ROW))
    show_results([run.path])
    assert "1 done" in capsys.readouterr().out


def test_a_folder_of_runs_given_as_a_run_is_an_error_that_names_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    assert main(["eval", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a run directory (it has no config.json); it holds some, such as {run.path}" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_run_is_listed_even_if_the_file_of_its_task_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(tmp_path / "runs" / "mine-of-a-former-hash")
    config = replace(CONFIG, task=str(tmp_path / "gone.py"))
    run.create(config, {})
    run.result.write_text(json.dumps(ROW | {"task": config.task}))
    show_results([tmp_path / "runs"], csv=tmp_path / "rows.csv")
    assert "1 done" in capsys.readouterr().out
    assert (tmp_path / "rows.csv").read_text().count("\n") == 2


def test_of_one_run_in_several_folders_the_furthest_is_shown_and_has_one_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in ("here", "there", "elsewhere")]
    here, there, elsewhere = (RunDirectory.of(CONFIG, folder) for folder in folders)
    for run in (here, there, elsewhere):
        run.create(CONFIG, {})
    for run in (there, elsewhere):
        run.result.write_text(json.dumps(ROW | {"config_hash": CONFIG.hash()}))
    assert main(["results", "--runs-dir", *map(str, folders), "--csv", str(tmp_path / "rows.csv")]) == 0
    told = capsys.readouterr().out
    assert "1 done\n1 rows written" in told
    assert "partial" not in told


def test_a_row_of_a_table_counts_for_a_cell_that_is_missing_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [replace(CONFIG, seed=seed) for seed in range(2)]
    monkeypatch.setitem(presets.PRESETS, "smoke", lambda: cells)
    others = [full_row(config_hash=cells[0].hash()), full_row(seed=9)]
    table = write_full(tmp_path / "t.csv", *others)
    words = ["results", "--preset", "smoke", "--runs-dir", str(tmp_path), "--results", str(table)]
    assert main([*words, "--csv", str(tmp_path / "rows.csv")]) == 0
    told = capsys.readouterr().out
    assert "1 done, 1 missing" in told
    assert "1 rows written" in told


def test_rows_of_a_table_and_of_runs_are_shown_alike_if_a_configuration_omits_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row has the family and every option; a configuration may leave both to its task."""
    done, begun, elsewhere = (
        RunConfig(task="cgram_retrieval", mode="direct", n=16, arch="lstm", size="tiny", seed=seed) for seed in range(3)
    )
    task = done.build_task("test")
    resolved = {"family": task.family, "options": written_options(task.options), "lr": done.training().lr}
    for config in (done, begun):
        RunDirectory.of(config, tmp_path).create(config, {})
    RunDirectory.of(done, tmp_path).result.write_text(json.dumps(made_up_row(done, **resolved)))
    same = {key: value for key, value in asdict(elsewhere).items() if key in COLUMNS}
    table = write_full(tmp_path / "t.csv", full_row(**same | resolved))
    assert main(["results", "--runs-dir", str(tmp_path), "--results", str(table)]) == 0
    told = capsys.readouterr().out
    assert "2 done, 1 partial" in told
    assert f"the same in all: samples 1000000, lr 0.0003, family {task.family}, options {resolved['options']}," in told


def test_a_filter_chooses_rows_of_tables_and_runs_for_the_table_that_is_written(tmp_path: Path) -> None:
    table = RESULTS / "istree_tuned_lr.csv"
    kept = tmp_path / "kept.csv"
    command = ["results", "--results", str(table), "--only", "lr=3e-3 arch=mamba,lstm", "--csv", str(kept)]
    assert main(command) == 0
    rows = [source.row for source in read_table(kept)]
    assert {(row["arch"], row["lr"]) for row in rows} == {("mamba", 0.003), ("lstm", 0.003)}
    assert main([*command[:4], "color=red"]) == 2


def test_a_filter_uses_the_default_family_if_none_is_named() -> None:
    other = replace(CONFIG, family="random_tree")
    assert select([CONFIG, other], "family=two_star") == [CONFIG]
    assert select([CONFIG, other], "family=random_tree") == [other]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("config.json", '{"task"', "config.json cannot be read"),
        ("config.json", json.dumps(asdict(CONFIG) | {"samples": 0}), "samples = 0"),
        ("result.json", '{"accu', "result.json cannot be read"),
        ("config.json", json.dumps(asdict(CONFIG) | {"n": 8.5}), "n = 8.5"),
        ("config.json", json.dumps(asdict(CONFIG) | {"mode": []}), "mode = []"),
        ("config.json", json.dumps(asdict(CONFIG) | {"task": 3}), "task = 3"),
        pytest.param("result.json", "[" * 100_000, "result.json cannot be read", id="too deep"),
        ("result.json", json.dumps(ROW | {"accuracy": "high"}), "no number for accuracy"),
        ("result.json", "{}", "no number for accuracy"),
    ],
)
def test_an_unreadable_run_has_its_own_row_beside_the_others(
    name: str, content: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, good = RunDirectory(tmp_path / "broken"), RunDirectory(tmp_path / "good")
    for run in (broken, good):
        run.create(CONFIG, {})
        run.result.write_text(json.dumps(ROW))
    (broken.path / name).write_text(content)
    with pytest.raises(RunError, match=re.escape(why)):
        show_results([tmp_path])
    told = capsys.readouterr().out
    assert "1 done, 1 unreadable" in told
    assert told.count("broken") >= 1
    assert why in told


def test_a_table_on_disk_has_the_readable_runs_and_the_others_are_reported(tmp_path: Path) -> None:
    for name, content in (("broken", "[]"), ("good", json.dumps(ROW))):
        run = RunDirectory(tmp_path / "runs" / name)
        run.create(CONFIG, {})
        run.result.write_text(content)
    with pytest.raises(RunError, match=r"1 run\(s\) cannot be read.*broken/result\.json holds no JSON object"):
        show_results([tmp_path / "runs"], csv=tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().count("\n") == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"accuracy": 9.431},
        {"seed": 5},
        {"arch": "gru"},
        {"lr": 0.5},
        {"samples": 640_000},
        {"curriculum": "4"},
        {"precision": "bf16"},
        {"config_hash": "0" * 12},
    ],
)
def test_a_result_that_cannot_be_the_runs_own_is_an_error(changed: dict[str, Any], tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    run.result.write_text(json.dumps(ROW | changed))
    with pytest.raises(RunError, match=rf"result\.json says {next(iter(changed))} = .*; delete it"):
        run.rows()


@pytest.mark.parametrize(
    "changed", [{"lr": 0.5}, {"samples": 640_000}, {"options": "names=12"}, {"family": "path_like"}, {"seed": 5}]
)
def test_a_configuration_that_was_changed_after_the_result_is_an_error(changed: dict[str, Any], tmp_path: Path) -> None:
    config = replace(CONFIG, options="names=16")
    run = RunDirectory.of(config, tmp_path)
    run.create(config, {})
    run.result.write_text(json.dumps(made_up_row(config, family="two_star", options="names=16.0 more=1")))
    assert run.rows()
    run.configuration.write_text(json.dumps(config.to_json() | changed))
    with pytest.raises(RunError, match=rf"result\.json says {next(iter(changed))} = .*config\.json .*; delete it"):
        run.rows()


def test_a_result_without_its_hash_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    run.result.write_text(json.dumps({key: value for key, value in ROW.items() if key != "config_hash"}))
    with pytest.raises(RunError, match=r"result\.json has no config_hash; delete it"):
        run.rows()


def test_a_finished_run_without_its_configuration_is_an_error(tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    run.result.write_text(json.dumps(ROW))
    run.configuration.unlink()
    with pytest.raises(RunError, match=r"has no config\.json"):
        show_results([tmp_path])


def calls_made(words: list[str]) -> int:
    """The number of calls of Python functions in a command."""
    count = 0

    def on_event(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(on_event)
    try:
        assert main(words) == 0
    finally:
        sys.setprofile(None)
    return count


def test_a_long_table_costs_few_calls_per_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short, long = (
        write_full(tmp_path / f"{count}.csv", *(full_row(seed=seed) for seed in range(count))) for count in (500, 1500)
    )
    main(["results", "--results", str(short)])  # one-time work, such as imports, is not counted
    few, many = (calls_made(["results", "--results", str(table)]) for table in (short, long))
    assert "1500 done" in capsys.readouterr().out
    assert (many - few) / 1000 < 60  # a rich table makes over a thousand


def test_values_that_an_older_row_lacks_are_left_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [full_row(seed=seed, warmup_samples=None, max_grad_norm=1.0 if seed else None) for seed in (0, 1)]
    main(["results", "--results", str(write_full(tmp_path / "t.csv", *rows))])
    told = capsys.readouterr().out
    assert "None" not in told
    assert "max_grad_norm" in told


def test_no_cell_is_cut_in_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_full(tmp_path / "t.csv", *(full_row(seed=seed, accuracy=seed / 8) for seed in range(4)))
    told = []
    for columns in ("300", "30"):
        monkeypatch.setenv("COLUMNS", columns)
        main(["results", "--results", str(table)])
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert all(f"{seed / 8:.3f}" in told[1] for seed in range(4))


ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_no_row_prints_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(tmp_path / "runs" / f"evil{ESCAPE.replace('/', '')}")
    run.create(replace(CONFIG, family=ESCAPE), {})
    run.result.write_text(json.dumps(ROW | {"family": ESCAPE}))
    broken = RunDirectory(tmp_path / "runs" / f"broken{ESCAPE}")
    broken.create(CONFIG, {})
    broken.configuration.write_text("{")
    table = write_full(tmp_path / "t.csv", full_row(arch=f"mamba{ESCAPE}\nnew line"))
    assert main(["results", "--runs-dir", str(tmp_path / "runs"), "--results", str(table)]) == 1
    assert main(["runs", "pack", str(tmp_path / "p.tar"), "--runs-dir", str(tmp_path / "runs")]) == 1
    written = "".join(capsys.readouterr())
    assert "\x1b" not in written
    assert "\x07" not in written
    assert r"\x1b]0;owned\x07" in written
