"""A run keeps the user's files that it was made with, and its model is used with changed ones only if allowed."""

import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.user_files import LIST, changed_user_files, check_user_files
from tests.training.runs import made_up_row

SOURCE = Path(__file__).parents[2] / "retrieval_gap" / "models" / "gru.py"


@pytest.fixture(params=["mine.py", "my layer's.py"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A run's directory and the file of its architecture."""
    mine = tmp_path / request.param
    mine.write_text(SOURCE.read_text())
    experiment = RunConfig(task="index", mode="direct", n=8, arch=str(mine), size="tiny")
    run = RunDirectory.of(experiment, tmp_path / "runs")
    run.create(experiment, {})
    return run.path, mine


def test_a_copy_is_kept_and_an_unchanged_file_is_accepted(made: tuple[Path, Path]) -> None:
    run, mine = made
    assert (run / "user_files" / mine.name).read_text() == mine.read_text()
    assert changed_user_files(run) == []
    check_user_files([run], "refuse")


def test_a_changed_file_is_refused_or_if_allowed_a_warning(
    made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, mine = made
    mine.write_text(mine.read_text() + "# another\n")
    with pytest.raises(UsageError, match=r"\.py has changed since .* --changed-files allow"):
        check_user_files([run], "refuse")
    check_user_files([run], "allow")
    assert "warning: " in capsys.readouterr().err


def test_a_missing_file_is_reported_with_the_path_of_its_copy(made: tuple[Path, Path]) -> None:
    run, mine = made
    mine.unlink()
    (told,) = changed_user_files(run)
    assert "is not there" in told
    assert str(run / "user_files" / mine.name) in told


def test_a_file_that_changes_while_its_run_is_trained_leaves_the_run_as_it_began(made: tuple[Path, Path]) -> None:
    first, mine = made
    experiment = RunConfig(
        task="index", mode="direct", n=8, arch=str(mine), size="tiny", lr=1e-3, warmup_samples=8, max_grad_norm=1.0
    )
    path = RunDirectory.of(experiment, first.parent).path

    def edited_meanwhile(*_: object) -> list[Row]:
        mine.write_text(mine.read_text() + "# another\n")
        return [made_up_row(experiment)]

    (row,) = perform(experiment, RunOptions(runs_dir=path.parent), edited_meanwhile)
    assert path.name.endswith(row["config_hash"])
    assert RunDirectory(path).rows()[0]["config_hash"] == row["config_hash"] != experiment.hash()


def test_a_second_start_does_not_replace_the_copy(made: tuple[Path, Path]) -> None:
    run, mine = made
    before = (run / LIST).read_text()
    mine.write_text("SIZES = {}\n")
    RunDirectory(run).create(RunConfig(task="index", mode="direct", n=8, arch=str(mine), size="tiny"), {})
    assert (run / LIST).read_text() == before
    assert (run / "user_files" / mine.name).read_text() != mine.read_text()


def test_a_run_from_before_files_were_kept_shows_a_change_by_its_hash(made: tuple[Path, Path]) -> None:
    run, mine = made
    (run / LIST).unlink()
    assert changed_user_files(run) == []
    mine.write_text(mine.read_text() + "# another\n")
    (told,) = changed_user_files(run)
    assert "has changed since" in told


def test_a_run_without_user_files_keeps_nothing(tmp_path: Path) -> None:
    experiment = RunConfig(task="index", mode="direct", n=8, arch="gru", size="tiny")
    run = RunDirectory.of(experiment, tmp_path)
    run.create(experiment, {})
    assert not (run.path / LIST).exists()
    assert changed_user_files(run.path) == []


@pytest.mark.parametrize("content", ["{}", '{"files": [{"path": "x"}]}', '{"files": 3}', "["])
def test_a_damaged_list_is_an_error(made: tuple[Path, Path], content: str) -> None:
    run, _ = made
    (run / LIST).write_text(content)
    with pytest.raises(RunError, match=LIST):
        changed_user_files(run)


@pytest.mark.parametrize("command", ["eval", "probe", "transfer"])
def test_every_command_that_uses_a_model_refuses_changed_files(
    made: tuple[Path, Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, mine = made
    mine.write_text(mine.read_text() + "# another\n")
    assert main([command, str(run)]) == 2
    assert f"{mine.name} has changed since" in capsys.readouterr().err
    assert main([command, str(run), "--changed-files", "allow"]) in (1, 2)  # the next error: it has no weights
    assert "no checkpoint" in capsys.readouterr().err


def test_a_data_file_is_listed_without_a_copy(tmp_path: Path) -> None:
    data = tmp_path / "questions.json"
    data.write_text("[]")
    experiment = RunConfig(task="hotpotqa", mode="direct", n=2, arch="gru", size="tiny", options=f"data={data}")
    run = tmp_path / "somebody's own name"
    RunDirectory(run).create(experiment, {})
    (entry,) = json.loads((run / LIST).read_text())["files"]
    assert (entry["path"], entry["copy"]) == (str(data), "")


def test_a_file_that_the_users_file_imports_belongs_to_it(tmp_path: Path) -> None:
    (tmp_path / "layer.py").write_text(SOURCE.read_text())
    mine = tmp_path / "mine.py"
    mine.write_text("from layer import ABOUT, GRU, SIZES\n")
    experiment = RunConfig(task="index", mode="direct", n=8, arch=str(mine), size="tiny")
    run = RunDirectory.of(experiment, tmp_path / "runs")
    run.create(experiment, {})
    assert {path.name for path in (run.path / "user_files").iterdir()} == {"mine.py", "layer.py"}
    (tmp_path / "layer.py").write_text(SOURCE.read_text() + "# another\n")
    with pytest.raises(UsageError, match=r"layer\.py has changed since"):
        check_user_files([run.path], "refuse")
    assert RunDirectory.of(experiment, tmp_path / "runs").path != run.path
