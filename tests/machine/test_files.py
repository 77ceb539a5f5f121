"""Files are replaced whole or not at all."""

from pathlib import Path

import pytest

from retrieval_gap.machine.files import remove_leftovers, write_atomically, write_text


def test_a_write_that_fails_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "row.json"
    write_text(path, "old")

    def fail_half_way(part: Path) -> None:
        part.write_text("ne")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(path, fail_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_kill_left_of_a_write_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / "row.json", tmp_path / "part", tmp_path / ".hidden"]
    for path in (*kept, tmp_path / ".row.json.123.part"):
        path.write_text("")
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
