"""Packs of runs: unpacked files equal the packed ones, and runs that cannot be packed are left out and named."""

import os
import re
import signal
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.experiments.trained.run import Listener
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.pack import pack
from retrieval_gap.runs.packed import MANIFEST
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.unpack import unpack
from retrieval_gap.runs.user_files import changed_user_files
from retrieval_gap.training.checkpoint import previous
from retrieval_gap.training.loop import StepReport
from tests.experiments.memories.cells import cell
from tests.runs.packs import GRU, RUN, TINY, files_of, make_run, write_checkpoint
from tests.training.runs import execute
from tests.training.test_loop import assert_same


def test_unpacked_files_equal_the_packed_ones(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    make_run(here, "9", replace(TINY, seed=1))
    pack(out, here, "")
    unpack(out, there)
    assert files_of(there) == files_of(here)


def test_the_copy_of_a_users_file_is_unpacked_as_data(here: Path, there: Path, out: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(GRU.read_text())
    run = make_run(here, "done", replace(TINY, arch=str(mine)))
    copy = run.path / "user_files" / "mine.py"
    copy.write_text("raise SystemExit('imported')\n")  # neither packing nor unpacking imports it
    pack(out, here, "")
    mine.unlink()
    unpack(out, there)
    assert files_of(there) == files_of(here)
    assert (there / run.path.name / "user_files" / "mine.py").read_bytes() == copy.read_bytes()
    (told,) = changed_user_files(there / run.path.name)
    assert "user_files/mine.py" in told


def with_a_long_log(here: Path, size: int) -> RunDirectory:
    """A finished memory run whose log has `size` bytes, as a sparse file."""
    perform(cell(), RunOptions(runs_dir=here, threads=1))
    run = RunDirectory.of(cell(), here)
    with (run.path / "steps.jsonl").open("ab") as file:
        file.truncate(size)
    return run


def test_a_long_log_is_unpacked_whole(here: Path, there: Path, out: Path) -> None:
    run = with_a_long_log(here, 17 << 20)
    pack(out, here, "")
    unpack(out, there)
    assert (there / run.path.name / "steps.jsonl").stat().st_size == 17 << 20


@pytest.mark.parametrize("name", [".hidden.py", "back\\slash.py", f"{'long' * 30}.py"])
def test_a_run_with_a_copy_that_cannot_be_packed_is_left_out_and_named(
    name: str, here: Path, there: Path, out: Path, tmp_path: Path
) -> None:
    mine = tmp_path / name
    mine.write_text(GRU.read_text())
    left_out, sound = make_run(here, "done", replace(TINY, arch=str(mine))), make_run(here, "done")
    with pytest.raises(RunError, match=rf"1 run\(s\) left out of the pack; the first: .*user_files/{re.escape(name)}"):
        pack(out, here, "")
    unpack(out, there)
    assert [path.name for path in there.iterdir()] == [sound.path.name] != [left_out.path.name]


@pytest.mark.parametrize("name", ["steps.jsonl", "metrics.jsonl"])
def test_a_run_with_a_file_past_the_limit_is_left_out_and_named(name: str, here: Path, there: Path, out: Path) -> None:
    large, sound = with_a_long_log(here, 1), make_run(here, "done")
    with (large.path / name).open("ab") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(RunError, match=rf"{large.path.name}/{name} has an impossible size"):
        pack(out, here, "")
    unpack(out, there)
    assert [path.name for path in there.iterdir()] == [sound.path.name]


def test_too_many_files_for_a_manifest_make_no_pack(here: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(here, "done")
    monkeypatch.setattr("retrieval_gap.runs.pack.LARGEST_MANIFEST", 99)
    with pytest.raises(RunError, match="too many for one pack"):
        pack(out, here, "")
    assert not out.exists()


def test_a_pack_is_an_ordinary_tar_with_the_same_bytes_whenever_it_is_made(here: Path, out: Path) -> None:
    for seed in (1, 0):
        make_run(here, "done", replace(TINY, seed=seed))
    pack(out, here, "")
    first = out.read_bytes()
    for path in here.rglob("*"):
        os.utime(path, (1, 1))
    pack(out, here, "")
    assert out.read_bytes() == first
    with tarfile.open(out) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    assert names == [*sorted(names[:-1]), MANIFEST]
    assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}


def test_a_run_resumed_elsewhere_reaches_the_same_weights(here: Path, there: Path, out: Path, tmp_path: Path) -> None:
    def stop_at_seven(told: StepReport) -> None:
        if told.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        execute(TINY, here, listener=Listener(report=stop_at_seven))
    pack(out, here, "")
    unpack(out, there)
    execute(TINY, there)
    execute(TINY, tmp_path / "undisturbed")
    assert_same(RunDirectory.of(TINY, there), RunDirectory.of(TINY, tmp_path / "undisturbed"))


def test_of_two_checkpoints_the_newest_sound_one_is_packed(here: Path, there: Path, out: Path) -> None:
    run = make_run(here, "8")
    write_checkpoint(run, 9)
    pack(out, here, "")
    unpack(out, there)
    arrived = RunDirectory(there / run.path.name)
    assert arrived.checkpoint.read_bytes() == run.checkpoint.read_bytes()
    assert not previous(arrived.checkpoint).exists()
    run.checkpoint.write_bytes(b"damaged")
    pack(out, here, "")
    unpack(out, there.with_name("elsewhere"))
    arrived = RunDirectory(there.with_name("elsewhere") / run.path.name)
    assert arrived.checkpoint.read_bytes() == previous(run.checkpoint).read_bytes()


def test_a_run_that_is_worked_on_is_neither_packed_nor_replaced(
    here: Path, there: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, other = TINY, replace(TINY, seed=1)
    for place, how in ((here, "done"), (there, "9")):
        make_run(place, how, config)
    busy = make_run(here, "9", other)
    with busy.locked(), pytest.raises(RunError, match=r"1 run\(s\) left out of the pack.* worked on"):
        pack(out, here, "")
    assert "1 run(s) packed" in capsys.readouterr().out
    pack(out, here, "")
    before = files_of(RunDirectory.of(config, there).path)
    with RunDirectory.of(config, there).locked(), pytest.raises(RunError, match=r"1 run\(s\) refused.* worked on"):
        unpack(out, there)
    assert files_of(RunDirectory.of(config, there).path) == before
    assert RunDirectory.of(other, there).status() == "partial"


def test_an_unsound_run_is_left_out_of_a_pack_and_named(
    here: Path, there: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(here, "done")
    damaged = make_run(here, "9", replace(TINY, seed=1))
    damaged.checkpoint.write_bytes(damaged.checkpoint.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"1 run\(s\) left out of the pack.*-s1-.*cannot be read"):
        pack(out, here, "")
    unpack(out, there)
    assert [path.name for path in there.iterdir()] == [RUN]
    RunDirectory.of(TINY, here).path.rename(here / "renamed")
    with pytest.raises(RunError, match=r"2 run\(s\) left out of the pack, which is not written"):
        pack(out, here, "")
    assert f"not done: renamed: its configuration is that of {RUN}" in capsys.readouterr().out
    unpack(out, there)  # the earlier pack is unchanged


def test_a_filter_chooses_what_is_packed(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    make_run(here, "done", replace(TINY, n=7))
    pack(out, here, "n=7")
    unpack(out, there)
    assert [run.experiment().filter_values()["n"] for run in map(RunDirectory, there.iterdir())] == [7]
    with pytest.raises(UsageError, match="holds no run that matches --only 'n=8'"):
        pack(out, here, "n=8")
