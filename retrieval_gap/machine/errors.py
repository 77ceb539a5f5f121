"""Errors for the person who reads them: one line with what was wrong, where, and what to do."""

import errno
import resource
import traceback
from collections.abc import Iterable
from difflib import get_close_matches

PACKAGES = ("retrieval_gap", "tasks", "plots", "benchmarks")


class UsageError(ValueError):
    """Wrong use (a flag, a name, a value); the command line prints it and exits with 2."""


class RunError(RuntimeError):
    """The work itself failed (a diverged loss, a corrupt checkpoint); the command line prints it and exits with 1."""


class HopelessError(RunError):
    """The work failed, and would fail in the same way again."""


def unknown(what: str, value: str, known: Iterable[str]) -> UsageError:
    """UsageError for a name that is not one of `known`, with the nearest valid name."""
    names = [str(name) for name in known]
    near = get_close_matches(value, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(f"unknown {what} {value!r} (choose from {', '.join(names)}){hint}")


def fault(error: BaseException) -> str:
    """`file:line: Type: message` of an unexpected error.  The place is in a user's own file if one is in the traceback,
    else in this project."""
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return f"there is not enough memory ({error}); a smaller batch, model or problem needs less"
    trace = error.__traceback__
    frames = [(f.f_globals.get("__name__", ""), f"{f.f_code.co_filename}:{n}") for f, n in traceback.walk_tb(trace)]
    theirs = [place for name, place in frames if name.startswith("_user_")]
    ours = [place for name, place in frames if name.partition(".")[0] in PACKAGES]
    where = (theirs or ours or ["retrieval-gap"])[-1]
    return f"{where}: {type(error).__name__}: {error}"


def no_files_left(error: BaseException | None) -> bool:
    """Whether an error is, was caused by, or came up while handling an exhausted limit of open files, however deep."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        if isinstance(error, BaseExceptionGroup):
            return any(map(no_files_left, error.exceptions))
        error = error.__cause__ or error.__context__
    return False


def open_files_message() -> str:
    """The message that no more files can be opened, with the limit."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return f"this process may open {limit} files at once (`ulimit -n`), and all are open; raise that limit"
