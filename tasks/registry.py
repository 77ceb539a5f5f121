"""Finds the class of a name or a file: of tasks, and of anything else that a user can add in one file.

A user's file may import files beside it: these belong to it (`files_of`).
"""

import ast
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from .api import Mode, Task, TaskConfig, TaskError
from .containment import contained

T = TypeVar("T")
_imported_beside: set[str] = set()  # names of modules beside users' files
PACKAGE = __name__.rpartition(".")[0]


def task_names() -> tuple[str, ...]:
    """Names of the tasks of this package."""
    return class_names(PACKAGE, "TASK")


def is_task_name(name: str) -> bool:
    """Whether this package has a task of that name; imports no other task."""
    return name in _module_names(PACKAGE) and hasattr(_import(PACKAGE, name), "TASK")


def load_task(name_or_path: str) -> type[Task]:
    """The task of this name, or of this `.py` file.  Raises TaskError, in one line, if there is none."""
    return load_class(
        name_or_path,
        base=Task,  # type: ignore[type-abstract]
        package=PACKAGE,
        attribute="TASK",
        error=TaskError,
    )


def shown(name_or_path: str, *, n: int, mode: Mode, options: str = "", index: int = 0) -> str:
    """Sample `index` of a task's training split as text, prompt and target, for a person to read.

    n, mode, options: as in `TaskConfig`.  Raises TaskError for an unknown task or invalid settings.
    """
    task = load_task(name_or_path)(TaskConfig(n=n, mode=mode, options=options))
    batch = task.sample(np.array([index]))
    return " ".join(task.vocabulary[token] for token in batch.tokens_BxL[0, : batch.length_B[0]])


def class_names(package: str, attribute: str) -> tuple[str, ...]:
    """Sorted names of a package's modules (and folders) that define `attribute`."""
    return tuple(sorted(name for name in _module_names(package) if hasattr(_import(package, name), attribute)))


def _module_names(package: str) -> list[str]:
    return [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]


def load_class(
    name_or_path: str,
    *,
    base: type[T],
    package: str,
    attribute: str,
    error: type[Exception] = ValueError,
) -> type[T]:
    """The class that `package.<name>` defines as `attribute`, or the one that a user's `.py` file defines.

    A file names its class `attribute`, or defines exactly one subclass of `base`.  Raises `error`, in one
    line, for an unknown name (with the nearest valid ones), and for a file that is missing, fails, or has
    no such class.
    """
    what = base.__name__.lower()
    if name_or_path.endswith(".py") or "/" in name_or_path or "\\" in name_or_path:
        return _only_class(run_file(Path(name_or_path), what, error), base, attribute, error)
    if name_or_path not in _module_names(package) or not hasattr(_import(package, name_or_path), attribute):
        names = class_names(package, attribute)
        near = difflib.get_close_matches(name_or_path, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "or give a path to a .py file"
        raise error(f"unknown {what} {name_or_path!r} (choose from {', '.join(names)}); {hint}")
    return _checked(getattr(_import(package, name_or_path), attribute), base, f"{package}.{name_or_path}", error)


def _import(package: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package}.{name}")


def files_of(path: Path) -> list[Path]:
    """A user's file, then those beside or below it that it imports, itself or through another.

    Only imports that are written out count.  A file that cannot be read or parsed imports nothing here, and fails when
    it is run.
    """
    found: list[Path] = []
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file not in found:
            found.append(file)
            waiting += _imports(file, path.parent)
    return found


def code_digest(path: Path) -> str:
    """SHA-256 of a user's file, in hexadecimal, or of all its files if there are several.  Raises OSError."""
    digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files_of(path)}
    if len(digests) == 1:
        return digests[path]
    told = "".join(f"{file.relative_to(path.parent).as_posix()} {digest}\n" for file, digest in digests.items())
    return hashlib.sha256(told.encode()).hexdigest()


def _imports(file: Path, folder: Path) -> Iterator[Path]:
    """The files in a folder that a file imports."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names, base = [], folder
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [".".join(filter(None, [node.module, alias.name])) for alias in node.names]
            base = Path(*file.parts[: -node.level]) if node.level else folder
        for parts in (name.split(".") for name in names):
            places = [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
            candidates = [each for place in places for each in (Path(f"{place}.py"), place / "__init__.py")]
            yield from (each for each in candidates if folder in each.parents and each.is_file())


def run_file(path: Path, what: str, error: type[Exception]) -> ModuleType:
    """Import a user's file under a unique module name, so that two files called `mine.py` do not collide.  Files beside
    it can be imported by their own names, unless an installed module has the same.

    Raises `error`, in one line, if the file is missing or fails (then with the line number).
    """
    if not os.path.isfile(path):  # unlike `path.is_file`, it accepts names too long for a file
        raise error(f"no such {what} file: {path}")
    name = f"_user_{what}_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise error(f"{path}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up here
    try:
        with _former_names(), _importable(files_of(path)), contained():
            spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        where = f"{path}:{_line_of(problem, path)}"
        raise error(f"{where}: {type(problem).__name__}: {_one_line(problem)}") from problem
    return module


@contextmanager
def _importable(files: list[Path]) -> Iterator[None]:
    """Let the first of these files import the others, as they are now: a module of another folder may have had the same
    name, and a file may have changed since."""
    for name in _imported_beside:
        sys.modules.pop(name, None)
    folder, before = str(files[0].resolve().parent), set(sys.modules)
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        last = next((place for place in reversed(range(len(sys.path))) if sys.path[place] == folder), None)
        if last is not None:  # else the file took it away
            del sys.path[last]
        own = {str(file.resolve()) for file in files[1:]}
        new = {name: getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before}
        _imported_beside.update(name for name, file in new.items() if file and str(Path(file).resolve()) in own)


@contextmanager
def _former_names() -> Iterator[None]:
    """Make this package importable as `tasks` too, its name in users' files before it moved into the project's package.
    A user's own package `tasks` takes precedence."""
    former = {
        "tasks" + name.removeprefix(PACKAGE): module
        for name, module in list(sys.modules.items())
        if name == PACKAGE or name.startswith(f"{PACKAGE}.")
    }
    if "tasks" in sys.modules or _is_users("tasks"):
        yield
        return
    sys.modules.update(former)
    try:
        yield
    finally:
        for name in former:
            sys.modules.pop(name, None)


def _is_users(name: str) -> bool:
    """Whether a package of this name exists that is not this package's folder, which a checkout finds by that name."""
    spec = importlib.util.find_spec(name)
    origin = None if spec is None else spec.origin
    return origin is not None and Path(origin).resolve().parent != Path(__file__).resolve().parent


def _line_of(problem: Exception, path: Path) -> int:
    """The last line of the file that ran, or the line that does not parse."""
    if isinstance(problem, SyntaxError):
        return problem.lineno or 1
    line, frame = 1, problem.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_filename in (str(path), os.path.abspath(path)):
            line = frame.tb_lineno
        frame = frame.tb_next
    return line


def _one_line(problem: Exception) -> str:
    text = problem.msg if isinstance(problem, SyntaxError) else str(problem)
    return " ".join(text.split())


def _only_class(module: ModuleType, base: type[T], attribute: str, error: type[Exception]) -> type[T]:
    path = str(module.__file__)
    if hasattr(module, attribute):
        return _checked(getattr(module, attribute), base, path, error)
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        names = ", ".join(value.__name__ for value in own) or "none"
        raise error(f"{path}: must define one subclass of {base.__name__}, or name it {attribute}; it defines {names}")
    return _checked(own[0], base, path, error)


def _checked(value: Any, base: type[T], where: str, error: type[Exception]) -> type[T]:
    if not (inspect.isclass(value) and issubclass(value, base)):
        raise error(f"{where}: {value!r} is not a subclass of {base.__name__}")
    if inspect.isabstract(value):
        missing = ", ".join(sorted(getattr(value, "__abstractmethods__", ())))
        raise error(f"{where}: {value.__name__} lacks {missing}")
    return value
