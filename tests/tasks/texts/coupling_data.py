"""The public sets that tests use where they are there."""

from pathlib import Path

from tests.real_data import real


def public_folder() -> Path:
    """The folder of public sets; the test is skipped where it is absent."""
    return real("coupling")
