"""Finds the real questions that some tests use."""

from pathlib import Path

from tests.real_data import real


def real_file(name: str) -> Path:
    """The path of a file of real questions; skips the test if it is absent."""
    return real(f"hotpotqa/{name}")
