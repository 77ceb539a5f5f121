"""Packs of runs: what arrives is what was packed, anything else is refused whole, and nothing here is made less."""

import hashlib
import json
import os
import re
import signal
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import Listener
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.pack import pack
from retrieval_gap.runs.packed import MANIFEST, packed_files, standing
from retrieval_gap.runs.perform import perform
from retrieval_gap.runs.unpack import unpack
from retrieval_gap.runs.user_files import changed_user_files
from retrieval_gap.training.checkpoint import TrainingProgress, previous, save_checkpoint
from retrieval_gap.training.loop import StepReport
from tests.experiments.memories.cells import cell
from tests.training.runs import execute, made_up_row
from tests.training.test_loop import CONFIG, assert_same

TINY = replace(CONFIG, arch="lstm")
GRU = Path(__file__).parents[2] / "retrieval_gap" / "models" / "gru.py"


def make_run(runs_dir: Path, how: str, config: RunConfig = TINY) -> RunDirectory:
    """A run that is "done", "failed", at a step ("9"), or has no more than its folder ("empty")."""
    run = RunDirectory.of(config, runs_dir)
    if how == "empty":
        run.path.mkdir(parents=True)
        return run
    run.create(config, {})
    if how == "done":
        run.result.write_text(json.dumps(made_up_row(config)))
    elif how == "failed":
        run.failure.write_text('{"reason": "the loss is nan"}')
    else:
        run.metrics.write_text(json.dumps({"step": int(how), "samples": 8 * int(how), "wall_s": 1.0}) + "\n")
        write_checkpoint(run, int(how))
    return run


def write_checkpoint(run: RunDirectory, step: int) -> None:
    parameters = SequenceModel(TINY.model(16)).trained_parameters()
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_checkpoint(run.checkpoint, parameters, optimizer, TrainingProgress(step=step))


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything below a folder; a lock's file is no part of a run."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.tar"


def test_what_arrives_is_what_was_packed(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    make_run(here, "9", replace(TINY, seed=1))
    pack(out, here, "")
    unpack(out, there)
    assert files_of(there) == files_of(here)


def test_the_copy_of_a_users_file_arrives_as_data(here: Path, there: Path, out: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(GRU.read_text())
    run = make_run(here, "done", replace(TINY, arch=str(mine)))
    copy = run.path / "user_files" / "mine.py"
    copy.write_text("raise SystemExit('imported')\n")  # nothing imports it, neither here nor where it arrives
    pack(out, here, "")
    mine.unlink()
    unpack(out, there)
    assert files_of(there) == files_of(here)
    assert (there / run.path.name / "user_files" / "mine.py").read_bytes() == copy.read_bytes()
    (told,) = changed_user_files(there / run.path.name)
    assert "user_files/mine.py" in told


def with_a_long_log(here: Path, size: int) -> RunDirectory:
    """A finished memory run whose log has so many bytes, in a file with a hole."""
    perform(cell(), RunOptions(runs_dir=here, threads=1))
    run = RunDirectory.of(cell(), here)
    with (run.path / "steps.jsonl").open("ab") as file:
        file.truncate(size)
    return run


def test_a_log_of_many_steps_arrives(here: Path, there: Path, out: Path) -> None:
    run = with_a_long_log(here, 17 << 20)
    pack(out, here, "")
    unpack(out, there)
    assert (there / run.path.name / "steps.jsonl").stat().st_size == 17 << 20


@pytest.mark.parametrize("name", [".hidden.py", "back\\slash.py", f"{'long' * 30}.py"])
def test_a_run_with_a_copy_that_no_pack_holds_is_left_out_and_named(
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


def test_files_that_are_too_many_for_a_manifest_make_no_pack(
    here: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(here, "done")
    monkeypatch.setattr("retrieval_gap.runs.pack.LARGEST_MANIFEST", 99)
    with pytest.raises(RunError, match="too many for one pack"):
        pack(out, here, "")
    assert not out.exists()


@pytest.mark.parametrize("options", ['"data"=absent.json', "'data=absent.json'", "data=absent.json 'open"])
def test_no_spelling_of_a_data_file_has_it_read_on_arrival(options: str, there: Path, out: Path) -> None:
    config = replace(TINY, task="hotpotqa", options=options)
    name = f"{config.label()}-{'0' * 12}"
    forge(out, [member(f"{name}/config.json", config_text(config))])
    unpack(out, there)
    assert (there / name / "config.json").is_file()


def test_of_a_run_that_goes_further_the_copies_are_replaced_too(
    here: Path, there: Path, out: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(GRU.read_text())
    config = replace(TINY, arch=str(mine))
    make_run(here, "done", config)
    kept = make_run(there, "empty", config).path / "user_files"
    kept.mkdir()
    (kept / "other.py").write_text("")
    pack(out, here, "")
    unpack(out, there)
    assert files_of(there) == files_of(here)


def test_a_pack_is_an_ordinary_tar_and_the_same_bytes_whenever_it_is_made(here: Path, out: Path) -> None:
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


def test_a_run_goes_on_elsewhere_to_the_same_weights(here: Path, there: Path, out: Path, tmp_path: Path) -> None:
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


def test_one_byte_flipped_anywhere_is_refused_and_nothing_is_changed(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    make_run(there, "failed")
    pack(out, here, "")
    good, before = out.read_bytes(), files_of(there)
    for position in range(len(good)):
        with out.open("r+b") as file:
            file.seek(position)
            file.write(bytes([good[position] ^ 1 << position % 8]))
            file.flush()
            with pytest.raises(RunError, match=r"SHA-256 differs\); nothing is unpacked"):
                unpack(out, there)
            file.seek(position)
            file.write(good[position : position + 1])
    assert files_of(there) == before
    assert out.read_bytes() == good
    unpack(out, there)
    assert RunDirectory.of(TINY, there).status() == "done"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 512, 10_240, 10_303])
def test_a_pack_cut_short_is_refused(size: int, here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    pack(out, here, "")
    out.write_bytes(out.read_bytes()[:size])
    with pytest.raises(RunError, match="nothing is unpacked"):
        unpack(out, there)
    assert not there.exists()


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def forge(path: Path, members: list[Member], manifest: object = None) -> None:
    """A pack of these members whose own SHA-256 is right; its manifest too, unless another one is given."""
    digests = {info.name: hashlib.sha256(content).hexdigest() for info, content in members}
    text = json.dumps(digests if manifest is None else manifest).encode()
    blocks = [
        info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        for info, content in [*members, member(MANIFEST, text)]
    ]
    tar = b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE)
    path.write_bytes(tar + hashlib.sha256(tar).hexdigest().encode())


RUN = RunDirectory.of(TINY, Path()).path.name


def config_text(config: RunConfig) -> bytes:
    return json.dumps(asdict(config)).encode()


CONFIG_MEMBER = member(f"{RUN}/config.json", config_text(TINY))
FORGED = [
    ([member("../config.json", config_text(TINY))], r"\.\.: its configuration is that of"),
    ([member("../../etc/result.json", b"{}")], "is no file of a run"),
    ([member("/etc/config.json", b"{}")], "is no file of a run"),
    ([member("/config.json", config_text(TINY))], ": its configuration is that of"),
    ([member(f"{RUN}/config.json", b"{}")], "missing 5 required"),
    ([member(f"{RUN}/../result.json", b"{}")], "is no file of a run"),
    ([member(f"{RUN}/run.sh", b"{}")], "is no file of a run"),
    ([member(f"{RUN}/lock")], "is no file of a run"),
    ([member(f"{RUN}/user_files/../../x.py")], "is no file of a run"),
    ([member(f"{RUN}/user_files/x.sh")], "is no file of a run"),
    ([member(f"{RUN}/user_files/.x.py")], "is no file of a run"),
    ([CONFIG_MEMBER, member(f"{RUN}/user_files/x.py", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "no plain file"),
    ([member("config.json", b"{}")], "is no file of a run"),
    ([CONFIG_MEMBER, member(f"{RUN}/result.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "no plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/result.json", type=tarfile.LNKTYPE, linkname="config.json")], "no plain file"),
    ([member(RUN, type=tarfile.DIRTYPE)], "no plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", type=tarfile.FIFOTYPE)], "no plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", type=tarfile.CHRTYPE)], "no plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/checkpoint.safetensors", size=1 << 50)], "impossible size"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", size=17 << 20)], "impossible size"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", size=-512)], "impossible size|negative|invalid"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", size=10 << 20)], "cut short|unexpected end"),
    ([CONFIG_MEMBER, CONFIG_MEMBER], "is there twice"),
    ([member(f"{RUN}/result.json", json.dumps(made_up_row(TINY)).encode())], "has no config.json"),
    ([member(f"{RUN}/config.json", b'{"task"')], "delimiter|Expecting"),
    ([member(f"{RUN}/config.json", b"[]")], "holds no JSON object"),
    ([member(f"{RUN}/config.json", b'{"tsk": 1}')], "did you mean 'task'"),
    ([member(f"{RUN}/config.json", config_text(replace(TINY, seed=1)))], "its configuration is that of .*-s1-"),
    ([member(f"{RUN}x/config.json", config_text(TINY))], "its configuration is that of"),
    ([member(f"{RUN}/config.json", config_text(replace(TINY, task="absent.py")))], "is that of absent"),
    ([CONFIG_MEMBER, member(f"{RUN}/result.json", b"{}")], "the result or the checkpoint of .* is damaged"),
    ([CONFIG_MEMBER, member(f"{RUN}/checkpoint.safetensors", b"x")], "the result or the checkpoint of .* is damaged"),
]  # fmt: skip


@pytest.mark.parametrize(("members", "told"), FORGED)
def test_a_pack_made_for_mischief_is_refused_whole_and_nothing_is_changed(
    members: list[Member], told: str, there: Path, out: Path
) -> None:
    make_run(there, "9")
    sound = replace(TINY, seed=7)
    name = RunDirectory.of(sound, Path()).path.name
    forge(out, [member(f"{name}/config.json", config_text(sound)), *members])
    before = files_of(out.parent)
    with pytest.raises(RunError, match=told):
        unpack(out, there)
    assert files_of(out.parent) == before


@pytest.mark.parametrize("manifest", [{}, [], {"x": "y"}, {f"{RUN}/config.json": "0" * 64}])
def test_a_manifest_that_says_something_else_is_refused(manifest: object, there: Path, out: Path) -> None:
    forge(out, [CONFIG_MEMBER], manifest)
    with pytest.raises(RunError, match=rf"{MANIFEST}"):
        unpack(out, there)
    assert not there.exists()


def test_a_forged_pack_of_a_sound_run_is_a_pack(there: Path, out: Path) -> None:
    forge(out, [CONFIG_MEMBER])
    unpack(out, there)
    assert RunDirectory.of(TINY, there).experiment() == TINY


RISING = ["empty", "failed", "5", "9", "done"]


@pytest.mark.parametrize("arriving", RISING[1:])
@pytest.mark.parametrize("present", RISING)
def test_the_further_of_two_directories_of_a_run_is_kept(
    present: str, arriving: str, here: Path, there: Path, out: Path
) -> None:
    make_run(here, arriving)
    make_run(there, present)
    packed, before = files_of(here), files_of(there)
    pack(out, here, "")
    unpack(out, there)
    assert files_of(there) == (packed if RISING.index(arriving) > RISING.index(present) else before)
    assert not list(there.glob(".unpack*"))


def test_a_run_is_never_less_than_before_however_its_replacement_is_cut_off(
    here: Path, there: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(here, "done")
    run = make_run(there, "9")
    pack(out, here, "")
    replace_file = Path.replace
    for allowed in range(len(packed_files())):
        left = allowed

        def replace_some(path: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return replace_file(path, target)

        before = standing(run)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace_some)
            try:
                unpack(out, there)
            except KeyboardInterrupt:
                assert standing(run) >= before
                assert run.status() in ("partial", "done")
    assert run.status() == "done"


def test_what_a_killed_command_left_is_removed_an_hour_later(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    pack(out, here, "")
    left, at_work = there / ".unpack-left", there / ".unpack-at-work"
    for folder in (left, at_work):
        folder.mkdir(parents=True)
        (folder / "part").write_text("")
    os.utime(left, (0, 0))
    unpack(out, there)
    assert not left.exists()
    assert at_work.exists()


def test_a_run_at_work_is_neither_packed_nor_replaced(
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


def test_what_is_not_sound_stays_out_of_a_pack_and_is_named(
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
    unpack(out, there)  # the old one is still there


def test_a_filter_chooses_what_is_packed(here: Path, there: Path, out: Path) -> None:
    make_run(here, "done")
    make_run(here, "done", replace(TINY, n=7))
    pack(out, here, "n=7")
    unpack(out, there)
    assert [run.experiment().filter_values()["n"] for run in map(RunDirectory, there.iterdir())] == [7]
    with pytest.raises(UsageError, match="holds no run that matches --only 'n=8'"):
        pack(out, here, "n=8")
