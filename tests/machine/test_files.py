"""Files are replaced whole or not at all."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_room_for, remove_leftovers, write_atomically, write_text


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    write_text(path, "old")

    def fail_half_way(part: Path) -> None:
        part.write_text("ne")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_can_be_read_by_whoever_may_read_new_files(tmp_path: Path) -> None:
    path, usual = tmp_path / "weights.safetensors", tmp_path / "usual"
    usual.touch()
    write_atomically(path, lambda part: save_file({"a": torch.zeros(2)}, part))
    assert path.stat().st_mode == usual.stat().st_mode


def test_only_the_leftovers_of_a_killed_write_are_deleted(tmp_path: Path) -> None:
    kept = [tmp_path / "row.json", tmp_path / "part", tmp_path / ".hidden"]
    for path in (*kept, tmp_path / ".row.json.123.part"):
        path.write_text("")
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        make_room_for(pipe)
        write_text(pipe, "rows")
        assert os.read(read, 100) == b"rows"
    finally:
        os.close(read)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_behind_a_link_its_target_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "rows.csv", tmp_path / "rows.csv"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("first", "second"):
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_links_that_lead_to_each_other_are_an_error(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.symlink_to(other)
    other.symlink_to(one)
    with pytest.raises(UsageError, match="one is a link that leads nowhere"):
        make_room_for(one)


def test_a_write_removes_old_parts_of_the_same_file(tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in (".t.csv.1.part", ".t.csv.2.part", ".u.csv.1.part"))
    for part in (old, new, other):
        part.write_text("")
    for part in (old, other):
        os.utime(part, (0, 0))
    write_text(tmp_path / "t.csv", "rows")
    assert [part.exists() for part in (old, new, other)] == [False, True, True]
