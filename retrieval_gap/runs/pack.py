"""Packs of runs: a tar file that carries run directories from one machine to another.

A pack holds `RUN/FILE` for every file of every run, sorted, without times or owners (only the newest sound checkpoint;
the run's copies of user files as `RUN/user_files/FILE`); then `manifest.json` with the SHA-256 of each; and after the
end of the tar, where tar readers stop, 64 hex digits: the SHA-256 of everything before.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_room_for, write_atomically
from retrieval_gap.runs.known import KnownRun, known_runs
from retrieval_gap.runs.packed import (
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
from retrieval_gap.tables.filters import select


def pack(target: Path, runs_dir: Path, only: str) -> None:
    """Write the runs of a folder into a pack; `only` chooses them as in a sweep.

    Raises UsageError if there is none to pack.  Raises RunError, after writing the pack, if some are left out: those
    that are running, those that cannot be read, and those with a file that a pack may not hold.
    """
    known = known_runs(runs_dir)
    cells = [run for run in known if run.experiment is None]
    cells += select([run for run in known if run.experiment is not None], only)
    if not cells:
        raise UsageError(f"{runs_dir} holds no run" + (f" that matches --only {only!r}" if only else ""))
    make_room_for(target)
    left_out: list[str] = []
    write_atomically(target, lambda part: _write_pack(part, cells, left_out))
    print(f"{len(cells) - len(left_out)} run(s) packed into {target}, {target.stat().st_size / 1e6:.1f} MB")
    raise_first("left out of the pack", left_out)


def _write_pack(path: Path, cells: Sequence[KnownRun], left_out: list[str]) -> None:
    """Raises RunError if no run can be packed, or there are too many files for one pack."""
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
        raise_first("left out of the pack, which is not written", left_out)
    with path.open("rb+") as file:
        file.write(sha256_of_start(file).encode())


def _read_run(cell: KnownRun) -> dict[str, bytes]:
    """A run's files by their names in a pack.

    Raises RunError if it is running or damaged, or has a file that `unpack` would refuse.
    """
    run = cell.run
    if cell.experiment is None:
        raise RunError(cell.trouble)
    check_name(run.path.name, cell.experiment)
    with at_rest(run):
        progress_of(run)
        places = {name: run.path / name for name in sorted([*packed_files(), *copies(run.path)])}
        if not run.result.exists():
            found, _ = cell.experiment.checkpoint(run)
            places |= {run.checkpoint.name: found} if found is not None else {}
        places = {name: place for name, place in places.items() if place.is_file()}
        _check_carried(run.path.name, {name: place.stat().st_size for name, place in places.items()})
        return {f"{run.path.name}/{name}": place.read_bytes() for name, place in places.items()}


def _check_carried(run: str, sizes: Mapping[str, int]) -> None:
    """Raise RunError for a run with a file that `unpack` would refuse.  sizes: bytes, by name in its directory."""
    limits = size_limits()
    for name, size in sizes.items():
        if trouble := refusal(name, size, limits):
            raise RunError(f"{run}/{name} {trouble}")
        try:
            tarfile.TarInfo(f"{run}/{name}").tobuf(tarfile.USTAR_FORMAT, "utf-8")
        except ValueError as error:
            raise RunError(f"{run}/{name} cannot be packed: {error}") from error


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, time 0
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
