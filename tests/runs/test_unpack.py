"""Unpacking: anything but a sound pack is refused as a whole, and no run here loses progress."""

import hashlib
import json
import os
import tarfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import RunError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.pack import pack
from retrieval_gap.runs.packed import MANIFEST, packed_files, progress_of
from retrieval_gap.runs.unpack import unpack
from tests.runs.packs import GRU, RUN, TINY, files_of, make_run
from tests.training.runs import made_up_row

Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, content: bytes = b"", **fields: object) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def forge(path: Path, members: list[Member], manifest: object = None) -> None:
    """Write a pack of these members with a right SHA-256, and a right manifest unless another one is given."""
    digests = {info.name: hashlib.sha256(content).hexdigest() for info, content in members}
    text = json.dumps(digests if manifest is None else manifest).encode()
    blocks = [
        info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
        for info, content in [*members, member(MANIFEST, text)]
    ]
    tar = b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE)
    path.write_bytes(tar + hashlib.sha256(tar).hexdigest().encode())


def config_text(config: RunConfig) -> bytes:
    return json.dumps(asdict(config)).encode()


def test_a_pack_with_one_flipped_bit_is_refused_and_nothing_is_changed(here: Path, there: Path, out: Path) -> None:
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


@pytest.mark.parametrize("options", ['"data"=absent.json', "'data=absent.json'", "data=absent.json 'open"])
def test_unpacking_reads_no_data_file_in_any_spelling(options: str, there: Path, out: Path) -> None:
    config = replace(TINY, task="hotpotqa", options=options)
    name = f"{config.label()}-{'0' * 12}"
    forge(out, [member(f"{name}/config.json", config_text(config))])
    unpack(out, there)
    assert (there / name / "config.json").is_file()


CONFIG_MEMBER = member(f"{RUN}/config.json", config_text(TINY))
FORGED = [
    ([member("../config.json", config_text(TINY))], r"\.\.: its configuration is that of"),
    ([member("../../etc/result.json", b"{}")], "is not a file of a run"),
    ([member("/etc/config.json", b"{}")], "is not a file of a run"),
    ([member("/config.json", config_text(TINY))], ": its configuration is that of"),
    ([member(f"{RUN}/config.json", b"{}")], "task, mode, n, arch, size missing"),
    ([member(f"{RUN}/../result.json", b"{}")], "is not a file of a run"),
    ([member(f"{RUN}/run.sh", b"{}")], "is not a file of a run"),
    ([member(f"{RUN}/lock")], "is not a file of a run"),
    ([member(f"{RUN}/user_files/../../x.py")], "is not a file of a run"),
    ([member(f"{RUN}/user_files/x.sh")], "is not a file of a run"),
    ([member(f"{RUN}/user_files/.x.py")], "is not a file of a run"),
    (
        [CONFIG_MEMBER, member(f"{RUN}/user_files/x.py", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        "not a plain file",
    ),
    ([member("config.json", b"{}")], "is not a file of a run"),
    ([CONFIG_MEMBER, member(f"{RUN}/result.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "not a plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/result.json", type=tarfile.LNKTYPE, linkname="config.json")], "not a plain file"),
    ([member(RUN, type=tarfile.DIRTYPE)], "not a plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", type=tarfile.FIFOTYPE)], "not a plain file"),
    ([CONFIG_MEMBER, member(f"{RUN}/metrics.jsonl", type=tarfile.CHRTYPE)], "not a plain file"),
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
def test_a_forged_pack_is_refused_as_a_whole_and_nothing_is_changed(
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
def test_a_manifest_that_does_not_match_the_files_is_refused(manifest: object, there: Path, out: Path) -> None:
    forge(out, [CONFIG_MEMBER], manifest)
    with pytest.raises(RunError, match=rf"{MANIFEST}"):
        unpack(out, there)
    assert not there.exists()


def test_a_hand_made_pack_of_a_sound_run_is_accepted(there: Path, out: Path) -> None:
    forge(out, [CONFIG_MEMBER])
    unpack(out, there)
    assert RunDirectory.of(TINY, there).experiment() == TINY


def test_copies_of_user_files_are_replaced_with_a_run_that_is_further(
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


def test_a_run_loses_no_progress_wherever_its_replacement_is_interrupted(
    here: Path, there: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(here, "done")
    run = make_run(there, "9")
    pack(out, here, "")
    replace_file, interrupted = Path.replace, 0
    for allowed in range(len(packed_files())):
        left = allowed

        def replace_some(path: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return replace_file(path, target)

        before = progress_of(run)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", replace_some)
            try:
                unpack(out, there)
            except KeyboardInterrupt:
                interrupted += 1
                assert progress_of(run) >= before
                assert run.status() in ("partial", "done")
    assert run.status() == "done"
    assert interrupted > 1


def test_folders_that_a_killed_command_left_are_removed_an_hour_later(here: Path, there: Path, out: Path) -> None:
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
