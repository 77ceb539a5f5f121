"""The public sets that tests use where they are there: `RETRIEVAL_GAP_DATA`, or `../shared/data`."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("RETRIEVAL_GAP_DATA") or REPOSITORY.parent / "shared" / "data") / "coupling"


def public_folder() -> Path:
    """The folder of public sets; the test is skipped where it is absent."""
    if not FOLDER.is_dir():
        pytest.skip(f"no public sets at {FOLDER} (RETRIEVAL_GAP_DATA names the folder of data)")
    return FOLDER
