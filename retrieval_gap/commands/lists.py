"""`retrieval-gap tasks` and `archs`: what there is, a line each."""

import ast
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class TasksCommand:
    """List the tasks, one line each; `retrieval-gap sample TASK` shows problems of one."""

    def run(self) -> None:
        from retrieval_gap import tasks

        _print(Path(tasks.__path__[0]), "TASK")
        print("or the path of a file of yours (CONTRIBUTING.md has a recipe)")


@dataclass(frozen=True, kw_only=True)
class ArchsCommand:
    """List the architectures, one line each."""

    def run(self) -> None:
        from retrieval_gap.about import MODELS

        _print(MODELS, "SIZES")
        print("or the path of a file of yours, or the dotted path of a layer (CONTRIBUTING.md has a recipe)")


def _print(folder: Path, offers: str) -> None:
    """The modules of a folder that define this name, each with the first sentence of its docstring; runs none."""
    for path in sorted([*folder.glob("*.py"), *folder.glob("*/__init__.py")]):
        module = ast.parse(path.read_text(encoding="utf-8"))
        assigned = [target for line in module.body if isinstance(line, ast.Assign) for target in line.targets]
        if any(isinstance(target, ast.Name) and target.id == offers for target in assigned):
            name = path.parent.name if path.stem == "__init__" else path.stem
            print(f"{name:22} {' '.join((ast.get_docstring(module) or '').split(chr(10) * 2)[0].split())}")
