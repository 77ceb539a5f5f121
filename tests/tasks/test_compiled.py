"""Compiled code is kept in the user's cache, or in a private temporary folder if that cannot be written."""

import os
import re
import tempfile
from pathlib import Path

import pytest

from retrieval_gap.tasks import compiled
from retrieval_gap.tasks.compiled import _cache_folder


def test_every_task_with_compiled_functions_imports_njit_from_the_module_that_sets_the_folder() -> None:
    sources = {path: path.read_text() for path in Path(compiled.__file__).parent.rglob("*.py")}
    uses = {path for path, source in sources.items() if "@njit" in source}
    assert len(uses) > 10
    assert {path for path in uses if not re.search(r"^from \.+compiled import njit$", sources[path], re.M)} == set()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, for a user whose home is not a folder."""
    no_folder = tmp_path / "home"
    no_folder.write_text("")
    monkeypatch.setenv("HOME", str(no_folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_cache_folder_that_can_be_written_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _cache_folder() == tmp_path / "retrieval_gap"


def test_without_such_a_folder_the_cache_is_in_a_private_temporary_folder(temporary: Path) -> None:
    folder = _cache_folder()
    assert folder == _cache_folder() == temporary / f"retrieval_gap-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_may_write_to_is_not_used(temporary: Path) -> None:
    theirs = temporary / f"retrieval_gap-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    assert _cache_folder() != theirs


def test_a_link_in_place_of_the_temporary_folder_is_not_followed(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir()
    (temporary / f"retrieval_gap-{os.getuid()}").symlink_to(temporary / "elsewhere")
    assert _cache_folder().parent == temporary
    assert list((temporary / "elsewhere").iterdir()) == []
