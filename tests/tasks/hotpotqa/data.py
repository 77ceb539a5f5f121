"""The real questions that tests use where they are there: `RETRIEVAL_GAP_DATA`, or `../shared/data`."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("RETRIEVAL_GAP_DATA") or REPOSITORY.parent / "shared" / "data") / "hotpotqa"


def real_file(name: str) -> Path:
    """A file of real questions; the test is skipped where it is absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no real questions at {path} (RETRIEVAL_GAP_DATA names the folder of data)")
    return path
