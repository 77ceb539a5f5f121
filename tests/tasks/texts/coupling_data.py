"""Finds the public sets that some tests use."""

from pathlib import Path

from tests.real_data import real


def public_folder() -> Path:
    """The path of the folder of public sets; skips the test if it is absent."""
    return real("coupling")
