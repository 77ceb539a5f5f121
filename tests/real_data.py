"""The real data that tests use where they are there: `RETRIEVAL_GAP_DATA`, or `../shared/data`."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("RETRIEVAL_GAP_DATA") or REPOSITORY.parent / "shared" / "data")


def real(name: str) -> Path:
    """A file or folder of real data; the test is skipped where it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no data at {path} (RETRIEVAL_GAP_DATA names the folder of data)")
    return path
