"""The user's own files that a run was made with: kept with the run, and compared before its model is used again.

`user_files.json` lists them; copies of code are in the folder `user_files`.  Of a data file only the digest is kept.
"""

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval_gap.choices import ChangedFiles
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, sha256_of, write_json
from retrieval_gap.tasks.registry import files_of

if TYPE_CHECKING:
    from retrieval_gap.runs.experiment import Experiment

LIST, COPIES = "user_files.json", "user_files"


def keep_user_files(run_path: Path, experiment: "Experiment") -> None:
    """Record the user's files that an experiment names, if that is not done yet.

    Raises OSError if the directory cannot be written.
    """
    files = list(_files_of(experiment))
    if not files or (run_path / LIST).exists():
        return
    kept, taken = [], set[str]()
    for place, path in enumerate(files):
        copy = ""
        if path.suffix == ".py":
            name = f"{place}_{path.name}" if path.name in taken else path.name
            taken.add(name)
            copy = f"{COPIES}/{name}"
            make_folder(run_path / COPIES)
            shutil.copyfile(path, run_path / copy)
        kept.append({"path": str(path), "sha256": sha256_of(path), "copy": copy})
    write_json(run_path / LIST, {"files": kept})


def changed_user_files(run_path: Path) -> list[str]:
    """One line for each file that changed since the run was made; [] if none did.

    The hash in the name of a run from before files were kept shows that something changed, but not what.
    Raises RunError if the list is damaged.
    """
    from retrieval_gap.runs.directory import HASH, RunDirectory

    run = RunDirectory(run_path)
    if not (run_path / LIST).is_file():
        experiment, digits = run.experiment(), HASH.search(run_path.name)
        if not list(_files_of(experiment)) or digits is None or experiment.hash() == digits[1]:
            return []
        return [f"a file of {', '.join(experiment.foreign())} has changed since {run_path} was made"]
    return [told for entry in _kept(run_path) if (told := _trouble(run_path, entry))]


def kept_digest(run_path: Path, path: str) -> str:
    """The SHA-256 of a user's file as it was when the run was made; "" if none is kept.

    Raises RunError if the list is damaged.
    """
    return next((entry["sha256"] for entry in _kept(run_path) if Path(entry["path"]) == Path(path)), "")


def check_user_files(run_paths: Iterable[Path], changed: ChangedFiles) -> None:
    """Compare user files before models of these runs are built.  Raises UsageError if a file has changed; with "allow",
    print each change on standard error instead."""
    for path in run_paths:
        for told in changed_user_files(path):
            if changed == "refuse":
                raise UsageError(f"{told}; --changed-files allow goes on with what is there now")
            print(f"warning: {told}", file=sys.stderr)


def copies(run_path: Path) -> list[str]:
    """The copies that a run keeps, as paths in its directory."""
    return sorted(f"{COPIES}/{path.name}" for path in (run_path / COPIES).glob("*.py"))


def _files_of(experiment: "Experiment") -> Iterable[Path]:
    """The files that exist now, with those beside them that they import; a layer of an installed package is none."""
    named = [Path(word) for word in experiment.foreign() if word and Path(word).is_file()]
    return dict.fromkeys(file for path in named for file in (files_of(path) if path.suffix == ".py" else [path]))


def _kept(run_path: Path) -> list[dict[str, str]]:
    from retrieval_gap.runs.directory import read_json

    if not (run_path / LIST).is_file():
        return []
    kept = read_json(run_path / LIST).get("files")
    if not isinstance(kept, list) or not all(_is_entry(entry) for entry in kept):
        raise RunError(f"{run_path / LIST} is damaged: it lists no files")
    return kept


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("path", "sha256", "copy"))
        and re.fullmatch(r"[0-9a-f]{64}", entry["sha256"]) is not None
    )


def _trouble(run_path: Path, entry: dict[str, str]) -> str:
    path = Path(entry["path"])
    copy = f" (as it was: {run_path / entry['copy']})" if entry["copy"] else ""
    if not path.is_file():
        return f"{path}, which {run_path} was made with, is not there{copy}"
    if sha256_of(path) != entry["sha256"]:
        return f"{path} has changed since {run_path} was made with it{copy}"
    return ""
