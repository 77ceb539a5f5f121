"""What a pack of runs may hold: the files of a run by name and size, under the run's own name; and how far a run is.

This module builds no task or model, and imports nothing that a pack names or holds: the name of a run with user files
is trusted.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.printing import print_safely
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, kinds
from retrieval_gap.runs.user_files import COPIES, LIST
from retrieval_gap.tasks.api import TaskError

MANIFEST = "manifest.json"
# A run's files, in the order in which they replace others, those of its kind between these: at any moment the directory
# holds a run, no less far than before.  Training drops the reports after its checkpoint; beside a result nothing else
# counts.
FIRST = ("config.json", "environment.jsonl", LIST, "metrics.jsonl")
LAST = ("error.txt", "failure.json", "result.json")
# Most bytes: of these files; of the engine's and a user's other files (TEXT), and a kind's, such as logs (OWN).
LARGEST = {"checkpoint.safetensors": 1 << 30}
LARGEST_MANIFEST = 64 << 20
LARGEST_TEXT = 16 << 20
LARGEST_OWN = 256 << 20
DIGEST_DIGITS = 64
_COPY = re.compile(rf"{COPIES}/[^/\\.][^/\\]*\.py")


class RunProgress(NamedTuple):
    """How far a run is: of two, the greater is kept.  A failed run cannot go on and gives way to one that can."""

    done: bool
    goes_on: bool
    step: int


def progress_of(run: RunDirectory) -> RunProgress:
    """How far a run is.  Raises RunError if the result is damaged, or every checkpoint is."""
    if not run.configuration.exists():
        return RunProgress(False, False, -1)
    experiment = run.experiment()
    if run.result.exists():
        run.rows(experiment)
        return RunProgress(True, False, 0)
    _, step = experiment.checkpoint(run)
    return RunProgress(False, not run.failure.exists(), step)


def packed_files() -> list[str]:
    """The names of the files that a run may hold, in the order in which they replace others."""
    own = (name for kind in kinds().values() for name in kind.files)
    return list(dict.fromkeys([*FIRST, *own, *LAST]))


def size_limits() -> dict[str, int]:
    """The most bytes of each file that a run may hold, by name."""
    own = {name: LARGEST_OWN for kind in kinds().values() for name in kind.files}
    return own | dict.fromkeys([*FIRST, *LAST], LARGEST_TEXT) | LARGEST


def refusal(name: str, size: int, limits: Mapping[str, int]) -> str:
    """Why a pack may not hold such a file of a run, in words that follow its path; "" if it may."""
    if name not in limits and not _COPY.fullmatch(name):
        return "is not a file of a run that a pack holds"
    most = limits.get(name, LARGEST_TEXT)
    return "" if 0 <= size <= most else f"has an impossible size for a pack: {size:,} bytes, at most {most:,} are held"


def check_name(name: str, experiment: Experiment) -> None:
    """Raise RunError if this directory name does not match the configuration.

    If that names a user's own files or modules, only the label is compared: hashing it would run them.
    """
    try:
        if experiment.foreign():
            _, dash, digits = name.rpartition("-")
            wanted = experiment.label() + dash + (digits if re.fullmatch("[0-9a-f]{12}", digits) else "HASH")
        else:
            wanted = RunDirectory.of(experiment, Path()).path.name
    except (UsageError, TaskError) as error:
        raise RunError(f"{name}: its configuration does not work here: {error}") from error
    if name != wanted:
        raise RunError(f"{name}: its configuration is that of {wanted}")


@contextmanager
def at_rest(run: RunDirectory) -> Iterator[None]:
    """Hold a run that no process works on.  Raises RunError immediately if one does."""
    if run.is_held():
        raise RunError(f"{run.path} is being worked on by another process")
    with run.locked():
        yield


def sha256_of_start(file: IO[bytes], size: int | None = None) -> str:
    """SHA-256 of a file's first `size` bytes (None: all); the file's position is then after them."""
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size if size is None else size
    file.seek(0)
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def raise_first(what: str, reasons: Sequence[str]) -> None:
    """Print the reasons, one per line; raise RunError if there are any."""
    for reason in reasons:
        print_safely(f"not done: {reason}")
    if reasons:
        raise RunError(f"{len(reasons)} run(s) {what}; the first: {reasons[0]}")
