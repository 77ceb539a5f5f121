"""Packs of runs: a tar file that carries run directories from one machine to another.

A pack holds `RUN/FILE` for every file of every run, sorted, without times or owners (of its checkpoints the newest
sound one; the copies that it keeps of a user's files too, as `RUN/user_files/FILE`); then `manifest.json` with the
SHA-256 of each; and behind the end of the tar, where readers of tar stop, 64 hex digits: the SHA-256 of all before.
Unpacking checks everything first, so that a pack cut short, altered or made for mischief changes nothing.  It builds
no task and no model and imports nothing that a pack names or holds: of a run of a user's own files the name is
believed, and their copies are data.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, make_room_for, remove_stale, sync, write_atomically
from retrieval_gap.machine.printing import say
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, kinds, read_experiment
from retrieval_gap.runs.filters import matches
from retrieval_gap.runs.known import KnownRun, known_runs
from retrieval_gap.runs.user_files import COPIES, LIST, copies
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.training.checkpoint import previous

MANIFEST = "manifest.json"
# A run's files, in the order in which they are put in the place of others, those of its kind between these: at any
# moment what is there is a run, no less far than before.  Training drops the reports past its checkpoint; beside a
# result nothing else counts.
FIRST = ("config.json", "environment.jsonl", LIST, "metrics.jsonl")
LAST = ("error.txt", "failure.json", "result.json")
# Bytes at most: of these files, of the engine's and a user's other ones, and of a kind's other ones, such as logs.
LARGEST = {"checkpoint.safetensors": 1 << 30}
LARGEST_MANIFEST = 64 << 20
LARGEST_TEXT = 16 << 20
LARGEST_OWN = 256 << 20
DIGEST_DIGITS = 64
_COPY = re.compile(rf"{COPIES}/[^/\\.][^/\\]*\.py")


class Standing(NamedTuple):
    """How far a run is: of two, the greater is kept.  A failed run goes no further and gives way to one that can."""

    done: bool
    goes_on: bool
    step: int


def standing(run: RunDirectory) -> Standing:
    """Raises RunError where the result is damaged, or every checkpoint is."""
    if not run.configuration.exists():
        return Standing(False, False, -1)
    experiment = run.experiment()
    if run.result.exists():
        run.rows(experiment)
        return Standing(True, False, 0)
    _, step = experiment.checkpoint(run)
    return Standing(False, not run.failure.exists(), step)


def packed_files() -> list[str]:
    """The names of what a run may hold, in the order in which they are put in the place of others."""
    own = (name for kind in kinds().values() for name in kind.files)
    return list(dict.fromkeys([*FIRST, *own, *LAST]))


def _limits() -> dict[str, int]:
    """The names of what a run may hold, and how many bytes at most."""
    own = {name: LARGEST_OWN for kind in kinds().values() for name in kind.files}
    return own | dict.fromkeys([*FIRST, *LAST], LARGEST_TEXT) | LARGEST


def _refusal(name: str, size: int, limits: Mapping[str, int]) -> str:
    """Why no pack holds such a file of a run, to be said after its path; "" where one may."""
    if name not in limits and not _COPY.fullmatch(name):
        return "is no file of a run that a pack holds"
    most = limits.get(name, LARGEST_TEXT)
    return "" if 0 <= size <= most else f"has an impossible size for a pack: {size:,} bytes, at most {most:,} are held"


def pack(target: Path, runs_dir: Path, only: str) -> None:
    """Writes the runs of a folder into a pack; `only` chooses them as it does in a sweep.

    Raises UsageError where there is none to pack.  Raises RunError, the pack being written, where some are left out:
    those at work at that moment, those that cannot be read, and those with a file that no pack holds.
    """
    cells = [
        run for run in known_runs(runs_dir) if run.experiment is None or matches(run.experiment.filter_values(), only)
    ]
    if not cells:
        raise UsageError(f"{runs_dir} holds no run" + (f" that matches --only {only!r}" if only else ""))
    make_room_for(target)
    left_out: list[str] = []
    write_atomically(target, lambda part: _write_pack(part, cells, left_out))
    print(f"{len(cells) - len(left_out)} run(s) packed into {target}, {target.stat().st_size / 1e6:.1f} MB")
    _raise_first("left out of the pack", left_out)


def unpack(source: Path, runs_dir: Path) -> None:
    """Adds the runs of a pack to a folder of runs.  Of a run that is in both, the further one is kept: done before
    partial, more steps before fewer.

    Raises UsageError where there is no such file, RunError, before anything is changed, for a pack that is damaged or
    holds anything but sound runs; and, the others being unpacked, where runs here are at work or cannot be read.
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
    _raise_first("refused", refused)


def _raise_first(what: str, reasons: Sequence[str]) -> None:
    """Raises RunError where there are reasons, which are printed, a line each."""
    for reason in reasons:
        say(f"not done: {reason}")
    if reasons:
        raise RunError(f"{len(reasons)} run(s) {what}; the first: {reasons[0]}")


def _write_pack(path: Path, cells: Sequence[KnownRun], left_out: list[str]) -> None:
    """Raises RunError where no run can be packed, or they are too many for one pack."""
    digests: dict[str, str] = {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT, encoding="utf-8") as tar:
        for cell in cells:
            try:
                files = _read_run(cell)
            except RunError as error:
                left_out.append(str(error))
                continue
            for name, content in files.items():
                digests[name] = hashlib.sha256(content).hexdigest()
                _add(tar, name, content)
        manifest = json.dumps(digests, indent=1).encode()
        if len(manifest) > LARGEST_MANIFEST:
            raise RunError(f"{len(digests):,} files are too many for one pack; --only chooses runs")
        _add(tar, MANIFEST, manifest)
    if not digests:
        _raise_first("left out of the pack, which is not written", left_out)
    with path.open("rb+") as file:
        file.write(_digest(file).encode())


def _read_run(cell: KnownRun) -> dict[str, bytes]:
    """A run's files by their names in a pack.

    Raises RunError where it is at work or not sound, or has a file that `unpack` would refuse.
    """
    run = cell.run
    if cell.experiment is None:
        raise RunError(cell.trouble)
    _check_name(run.path.name, cell.experiment)
    with _at_rest(run):
        standing(run)
        places = {name: run.path / name for name in sorted([*packed_files(), *copies(run.path)])}
        if not run.result.exists():
            found, _ = cell.experiment.checkpoint(run)
            places |= {run.checkpoint.name: found} if found is not None else {}
        places = {name: place for name, place in places.items() if place.is_file()}
        _check_carried(run.path.name, {name: place.stat().st_size for name, place in places.items()})
        return {f"{run.path.name}/{name}": place.read_bytes() for name, place in places.items()}


def _check_carried(run: str, sizes: Mapping[str, int]) -> None:
    """Raises RunError for a run with a file that `unpack` would refuse.  sizes: in bytes, by name in its directory."""
    limits = _limits()
    for name, size in sizes.items():
        if trouble := _refusal(name, size, limits):
            raise RunError(f"{run}/{name} {trouble}")
        try:
            tarfile.TarInfo(f"{run}/{name}").tobuf(tarfile.USTAR_FORMAT, "utf-8")
        except ValueError as error:
            raise RunError(f"{run}/{name} cannot be packed: {error}") from error


@contextmanager
def _at_rest(run: RunDirectory) -> Iterator[None]:
    """Holds a run that nobody works on.  Raises RunError, at once, where somebody does."""
    if run.is_held():
        raise RunError(f"{run.path} is being worked on by another process")
    with run.locked():
        yield


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, time 0
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _digest(file: IO[bytes], size: int | None = None) -> str:
    """SHA-256 of a file's first `size` bytes (None: all), which it then stands behind."""
    digest, left = hashlib.sha256(), os.fstat(file.fileno()).st_size if size is None else size
    file.seek(0)
    while left and (block := file.read(min(left, 1 << 20))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def _verify(source: Path, file: IO[bytes]) -> None:
    """Raises RunError where a pack is not as it was written, or is not made of sound runs."""
    size = os.fstat(file.fileno()).st_size - DIGEST_DIGITS
    if size < 0 or _digest(file, size).encode() != file.read():
        raise RunError(f"{source} is no whole pack of runs (its SHA-256 differs); nothing is unpacked")
    try:
        with _tar(file) as tar:
            _check_members(tar)
    except (tarfile.TarError, RunError, UsageError, ValueError, RecursionError) as error:
        raise RunError(f"{source} is refused, nothing is unpacked: {error}") from error


def _tar(file: IO[bytes]) -> tarfile.TarFile:
    file.seek(0)
    return tarfile.open(fileobj=file, mode="r:", encoding="utf-8")


def _check_members(tar: tarfile.TarFile) -> None:
    """Raises an error, one line, for the first member that is no file of a sound run or not what the manifest says."""
    contents: dict[str, bytes] = {}
    digests: dict[str, str] = {}
    limits = _limits()
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
        _check_name(run, read_experiment(_json_object(contents[where], where), where))


def _check_member(member: tarfile.TarInfo, limits: Mapping[str, int]) -> None:
    if member.type != tarfile.REGTYPE or member.issparse():
        raise ValueError(f"{member.name!r} is no plain file")
    if member.name == MANIFEST:
        if not 0 <= member.size <= LARGEST_MANIFEST:
            raise ValueError(f"{MANIFEST} has an impossible size, {member.size} bytes")
    elif trouble := _refusal(member.name.partition("/")[2], member.size, limits):
        raise ValueError(f"{member.name!r} {trouble}")


def _check_name(name: str, experiment: Experiment) -> None:
    """Raises RunError where a directory of this name is not that of the configuration.

    Of one that names files or modules of a user's own only the label is compared: to hash it would be to run them.
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


def _check_arrived(run: RunDirectory, source: Path) -> None:
    """Puts a run's files on the disk for good.  Raises RunError where it is not sound."""
    for name in (*packed_files(), *copies(run.path)):
        if (run.path / name).exists():
            sync(run.path / name)
    try:
        standing(run)
    except RunError as error:
        what = f"the result or the checkpoint of {run.path.name} is damaged"
        raise RunError(f"{source} is refused, nothing is unpacked: {what}") from error


def _json_object(content: bytes, where: str) -> dict[str, Any]:
    value = json.loads(content)
    if not isinstance(value, dict):
        raise ValueError(f"{where} holds no JSON object")
    return value


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    content = file.read() if file is not None else b""
    if len(content) != member.size:
        raise ValueError(f"{member.name} is cut short")
    return content


def _merge(arrived: RunDirectory, here: RunDirectory) -> str:
    """Puts the further of two directories of one run in `here`; what was done.  Raises RunError where it is at work."""
    if not here.path.exists():
        arrived.path.rename(here.path)
        return "new"
    with _at_rest(here):
        if standing(arrived) <= standing(here):
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
