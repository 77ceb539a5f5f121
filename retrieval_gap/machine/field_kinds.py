"""Whether the values of a configuration's fields are of the kinds that its class declares: a grid of a user's own, and
a config.json, may hold anything."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from retrieval_gap.machine.errors import UsageError, unknown

T = TypeVar("T")
_WANTED = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", NoneType: "None"}


def settle_fields(config: Any) -> None:
    """Numpy's numbers become Python's; for the `__post_init__` of a frozen dataclass, before anything else there.

    Raises UsageError for a value that is not of its field's kind, or not among its choices, naming the nearest.
    """
    of: Any = type(config)
    for name, kind in _kinds(of).items():
        value = getattr(config, name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, name, value)
        if not _fits(value, kind):
            raise _refused(name, value, kind)


def made_of(kind: type[T], value: Any, where: str) -> T:
    """A configuration, and those within it, of the fields that a config.json holds.

    Raises UsageError, beginning with `where`, for a key that there is not (naming the nearest valid one), for one that
    is missing, and for an invalid value.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: expected an object, got {value!r:.40}")
    of: Any = kind
    known = {field.name: field for field in fields(of)}
    for key in value:
        if key not in known:
            raise UsageError(f"{where}: {unknown('key', key, known)}")
    needed = [name for name, field in known.items() if field.default is field.default_factory is MISSING]
    lacking = [name for name in needed if name not in value]
    if lacking:
        raise UsageError(f"{where}: {', '.join(lacking)} missing")
    kinds = _kinds(of)
    filled = {name: _filled(kinds[name], each, f"{where}: {name}") for name, each in value.items()}
    try:
        for name, each in filled.items():
            if not _fits(each, kinds[name]):
                raise _refused(name, each, kinds[name])
        return kind(**filled)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: {error}") from error


def _filled(kind: Any, value: Any, where: str) -> Any:
    """An object of a field that is a configuration itself, or may be None, is made of its fields."""
    within = next((each for each in (kind, *get_args(kind)) if is_dataclass(each)), None)
    return value if within is None or value is None else made_of(within, value, where)  # type: ignore[arg-type]


@cache
def _kinds(of: Any) -> dict[str, Any]:
    hints = get_type_hints(of)
    return {field.name: hints[field.name] for field in fields(of)}


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in get_args(kind))
    if kind is float:
        return type(value) in (int, float)
    if kind in _WANTED:
        return type(value) is kind
    return not isinstance(kind, type) or isinstance(value, kind)


def _refused(name: str, value: Any, kind: Any) -> UsageError:
    if get_origin(kind) is Literal and isinstance(value, str):
        return unknown(name, value, get_args(kind))
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    wanted = " or ".join(_WANTED.get(each, getattr(each, "__name__", str(each))) for each in kinds)
    if get_origin(kind) is Literal:
        wanted = f"one of {', '.join(map(str, get_args(kind)))}"
    return UsageError(f"{name} = {value!r} is invalid: expected {wanted}")
