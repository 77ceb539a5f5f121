"""`retrieval-gap tasks` and `archs`: one line per task or architecture; and their names for the help of flags."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from retrieval_gap import tasks
from retrieval_gap.about import MODELS

TASKS = Path(tasks.__path__[0])


@dataclass(frozen=True, kw_only=True)
class TasksCommand:
    """List the tasks, one line each; `retrieval-gap sample TASK` prints samples of one."""

    def run(self) -> None:
        _print(TASKS, "TASK")
        print("--task takes the path of your own file too (CONTRIBUTING.md has a recipe)")


@dataclass(frozen=True, kw_only=True)
class ArchsCommand:
    """List the architectures, one line each."""

    def run(self) -> None:
        _print(MODELS, "SIZES")
        print("--arch takes the path of your own file too, or the dotted path of a layer (CONTRIBUTING.md has recipes)")


def names_text(folder: Path, offers: str) -> str:
    """The modules of a folder that define the name `offers`, as a list for a flag's help."""
    return ", ".join(_offering(folder, offers))


def _print(folder: Path, offers: str) -> None:
    """Print these modules, each with the first paragraph of its docstring; none is imported."""
    for name, text in _offering(folder, offers).items():
        print(f"{name:22} {' '.join((ast.get_docstring(ast.parse(text)) or '').split(chr(10) * 2)[0].split())}")


def _offering(folder: Path, offers: str) -> dict[str, str]:
    texts = {path: path.read_text(encoding="utf-8") for path in [*folder.glob("*.py"), *folder.glob("*/__init__.py")]}
    defined = re.compile(rf"^{offers}\b[^=\n]*=", re.MULTILINE)
    found = {path: text for path, text in texts.items() if defined.search(text)}
    named = {path.parent.name if path.stem == "__init__" else path.stem: text for path, text in found.items()}
    return dict(sorted(named.items()))
