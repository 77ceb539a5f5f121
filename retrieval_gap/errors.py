"""Errors meant for the person who reads them: one line that says what, where and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class UsageError(ValueError):
    """Wrong use (a flag, a name, a value): the command line prints it and exits with 2."""


class RunError(RuntimeError):
    """The work itself failed (a diverged loss, a corrupt checkpoint): printed, exits with 1."""


def unknown(what: str, value: str, known: Iterable[str]) -> UsageError:
    """UsageError for a name that is not one of `known`, with the nearest valid name."""
    names = list(known)
    near = get_close_matches(value, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {what} {value!r} (choose from {', '.join(names)}){hint}")
