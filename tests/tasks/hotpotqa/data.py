"""The real questions that tests use where they are there."""

from pathlib import Path

from tests.real_data import real


def real_file(name: str) -> Path:
    """A file of real questions; the test is skipped where it is absent."""
    return real(f"hotpotqa/{name}")
