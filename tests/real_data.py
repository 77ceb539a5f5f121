"""Finds the real data that some tests use, in `RETRIEVAL_GAP_DATA` or else in `../shared/data`."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("RETRIEVAL_GAP_DATA") or REPOSITORY.parent / "shared" / "data")


def real(name: str) -> Path:
    """The path of a file or folder of real data; skips the test if it is absent."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no data at {path} (RETRIEVAL_GAP_DATA names the folder of data)")
    return path
