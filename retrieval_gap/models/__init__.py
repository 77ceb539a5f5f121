"""Sequence models: one file per architecture, one protocol.

A user's architecture is a separate file, given by its path (`--arch my_arch.py`).  Like the files here, it has mixers,
and `SIZES`, which maps the name of a size to an `Architecture`.  A layer of an installed package is given by its
dotted path (`--arch fla.layers.GatedLinearAttention`, see fla_layer.py).
"""

import importlib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.models.fla_layer import sizes_of
from retrieval_gap.models.model import Architecture, Embedding, ModelConfig, SequenceModel
from retrieval_gap.tasks.registry import class_names, run_file

LARGEST = 2**20  # of a changed field: for far larger values torch fails with unclear errors
# Every module here that has `SIZES`, by its name.
ARCHITECTURES = {name: importlib.import_module(f"{__name__}.{name}") for name in class_names(__name__, "SIZES")}

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Embedding",
    "ModelConfig",
    "SequenceModel",
    "architecture",
]


def architecture(name_or_path: str, size: str) -> Architecture:
    """The architecture of that name (or in that `.py` file, or of the layer at that dotted path) at that size.

    size: a name in `SIZES`, followed by changes, such as `tiny+d_model=8+n_layers=1+conv=4`.
    Raises UsageError for an unknown name, file, size or field, for anything but a frozen dataclass of plain values,
    and for a shape that cannot be built.
    """
    size, *changes = size.split("+")
    if name_or_path.endswith(".py"):
        module = run_file(Path(name_or_path), "architecture", UsageError)
        sizes = getattr(module, "SIZES", None)
        if not isinstance(sizes, dict):
            raise UsageError(f"{name_or_path} defines no SIZES (a dict from size names to architectures)")
    elif name_or_path in ARCHITECTURES:
        sizes = ARCHITECTURES[name_or_path].SIZES
    elif "." in name_or_path:
        sizes = sizes_of(name_or_path)
    else:
        raise unknown("architecture", name_or_path, [*ARCHITECTURES, "path/to/your_file.py", "package.Layer"])
    if size not in sizes:
        raise unknown(f"size of {name_or_path}", size, sizes)
    if not isinstance(sizes[size], Architecture):
        raise UsageError(f"{name_or_path}: SIZES[{size!r}] lacks d_model or layers()")
    if told := _not_declared(sizes[size]):
        raise UsageError(f"{name_or_path}: SIZES[{size!r}] {told} (a run is named by the values of its fields)")
    return _changed(sizes[size], changes, name_or_path) if changes else sizes[size]


def _not_declared(built: Any) -> str:
    """Why an architecture may not have the same hash in every process; or ""."""
    kind: Any = type(built)
    if kind is type:
        return f"is a class; write {built.__name__}()"
    if not is_dataclass(built):
        return "is not a dataclass"
    if not kind.__dataclass_params__.frozen:
        return "is a dataclass that can change; write @dataclass(frozen=True)"
    strange = [field.name for field in fields(built) if not _is_plain(getattr(built, field.name))]
    return f"has a field {strange[0]} that is not a number, text, True, False, None or list of these" if strange else ""


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def _changed(built: Any, changes: list[str], arch: str) -> Architecture:
    names = [field.name for field in fields(built)]
    kinds = get_type_hints(type(built))
    values: dict[str, int | str] = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in names:
            raise unknown(f"{arch} dimension", name, names)
        if name in values:
            raise UsageError(f"size of {arch}: {name} is changed twice")
        if str in (kinds[name], *get_args(kinds[name])):
            values[name] = value
            continue
        if not value.isdecimal() or not 1 <= int(value) <= LARGEST:
            raise UsageError(f"size of {arch}: {name} = {value!r} is not a whole number of 1 to {LARGEST:,}")
        values[name] = int(value)
    changed: Architecture = replace(built, **values)
    try:
        changed.layers()
    except ValueError as error:
        raise UsageError(f"size of {arch}: {error}") from error
    return changed
