"""Unpack the runs of a pack, as `pack.py` writes it, into a folder of runs.

Everything is checked first, so that a truncated, altered or malicious pack changes nothing.  No task or model is built,
and nothing that a pack names or holds is imported: the name of a run with user files is trusted, and their copies are
only data.
"""

import hashlib
import json
import os
import tarfile
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, remove_stale, sync
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import read_experiment
from retrieval_gap.runs.packed import (
    DIGEST_DIGITS,
    LARGEST_MANIFEST,
    MANIFEST,
    at_rest,
    check_name,
    packed_files,
    progress_of,
    raise_first,
    refusal,
    sha256_of_start,
    size_limits,
)
from retrieval_gap.runs.user_files import copies
from retrieval_gap.training.checkpoint import previous


def unpack(source: Path, runs_dir: Path) -> None:
    """Add the runs of a pack to a folder of runs.  Of a run that is in both, the further one is kept: done before
    partial, more steps before fewer.

    Raises UsageError if there is no such file; RunError, before anything is changed, for a pack that is damaged or
    holds anything but sound runs, and, after unpacking the others, if runs here are running or cannot be read.
    """
    if not source.is_file():
        raise UsageError(f"there is no pack {source}")
    outcomes, refused = Counter[str](), list[str]()
    with source.open("rb") as file:
        _verify(source, file)
        make_folder(runs_dir)
        remove_stale(runs_dir, ".unpack-*")
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=runs_dir) as room:
            with _tar(file) as tar:
                tar.extractall(room, [member for member in tar if member.name != MANIFEST], filter="data")
            arrived = [RunDirectory(path) for path in sorted(Path(room).iterdir())]
            for run in arrived:
                _check_arrived(run, source)
            for run in arrived:
                try:
                    outcomes[_merge(run, RunDirectory(runs_dir / run.path.name))] += 1
                except RunError as error:
                    refused.append(str(error))
    told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"unpacked into {runs_dir}: {told or 'no run'}")
    raise_first("refused", refused)


def _verify(source: Path, file: IO[bytes]) -> None:
    """Raise RunError if a pack is not as it was written, or does not consist of sound runs."""
    size = os.fstat(file.fileno()).st_size - DIGEST_DIGITS
    if size < 0 or sha256_of_start(file, size).encode() != file.read():
        raise RunError(f"{source} is not a complete pack of runs (its SHA-256 differs); nothing is unpacked")
    try:
        with _tar(file) as tar:
            _check_members(tar)
    except (tarfile.TarError, RunError, UsageError, ValueError, RecursionError) as error:
        raise RunError(f"{source} is refused, nothing is unpacked: {error}") from error


def _tar(file: IO[bytes]) -> tarfile.TarFile:
    file.seek(0)
    return tarfile.open(fileobj=file, mode="r:", encoding="utf-8")


def _check_members(tar: tarfile.TarFile) -> None:
    """Raise a one-line error for the first member that is not a file of a sound run or not in the manifest."""
    contents: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    limits = size_limits()
    for member in tar:
        _check_member(member, limits)
        if member.name in digests:
            raise ValueError(f"{member.name} is there twice")
        content = _content(tar, member)
        digests[member.name] = hashlib.sha256(content).hexdigest()
        if member.name == MANIFEST or member.name.endswith("/config.json"):
            contents[member.name] = content
    if digests.pop(MANIFEST, None) is None:
        raise ValueError(f"it has no {MANIFEST}")
    wanted = _json_object(contents.pop(MANIFEST), MANIFEST)
    for name in sorted(wanted.keys() | digests.keys()):
        if wanted.get(name) != digests.get(name):
            raise ValueError(f"{name} is not what {MANIFEST} says")
    for run in sorted({name.partition("/")[0] for name in digests}):
        where = f"{run}/config.json"
        if where not in contents:
            raise ValueError(f"{run} has no config.json")
        check_name(run, read_experiment(_json_object(contents[where], where), where))


def _check_member(member: tarfile.TarInfo, limits: Mapping[str, int]) -> None:
    if member.type != tarfile.REGTYPE or member.issparse():
        raise ValueError(f"{member.name!r} is not a plain file")
    if member.name == MANIFEST:
        if not 0 <= member.size <= LARGEST_MANIFEST:
            raise ValueError(f"{MANIFEST} has an impossible size, {member.size} bytes")
    elif trouble := refusal(member.name.partition("/")[2], member.size, limits):
        raise ValueError(f"{member.name!r} {trouble}")


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    content = file.read() if file is not None else b""
    if len(content) != member.size:
        raise ValueError(f"{member.name} is cut short")
    return content


def _json_object(content: bytes, where: str) -> dict[str, Any]:
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{where} holds no JSON object")
    return value


def _check_arrived(run: RunDirectory, source: Path) -> None:
    """Sync a run's files to disk.  Raises RunError if the run is damaged."""
    for name in (*packed_files(), *copies(run.path)):
        if (run.path / name).exists():
            sync(run.path / name)
    try:
        progress_of(run)
    except RunError as error:
        what = f"the result or the checkpoint of {run.path.name} is damaged"
        raise RunError(f"{source} is refused, nothing is unpacked: {what}") from error


def _merge(arrived: RunDirectory, here: RunDirectory) -> str:
    """Keep the further of two directories of a run in `here`; what was done.  Raises RunError if `here` is running."""
    if not here.path.exists():
        arrived.path.rename(here.path)
        return "new"
    with at_rest(here):
        if progress_of(arrived) <= progress_of(here):
            return "kept as they are here"
        files = list(dict.fromkeys([*copies(arrived.path), *copies(here.path), *packed_files()]))
        present = {name for name in files if (arrived.path / name).exists()}
        for name in files:
            if name in present:
                make_folder((here.path / name).parent)
                (arrived.path / name).replace(here.path / name)
        for name in (*(set(files) - present), previous(here.checkpoint).name):
            (here.path / name).unlink(missing_ok=True)
    return "further than here"
