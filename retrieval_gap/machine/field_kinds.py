"""Checks that the fields of a configuration have the types that its class declares: a user's own grid, or a
config.json, may hold anything."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from retrieval_gap.machine.errors import UsageError, unknown

T = TypeVar("T")
_WANTED = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", NoneType: "None"}


def check_fields(config: Any) -> None:
    """Check all fields, and turn numpy numbers into Python's; call it first in a frozen dataclass's `__post_init__`.

    Raises UsageError for a value of another type, or not among the field's choices (with the nearest choice).
    """
    of: Any = type(config)
    for name, kind in _kinds(of).items():
        value = getattr(config, name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, name, value)
        if not _fits(value, kind):
            raise _refused(name, value, kind)


def config_from(kind: type[T], value: Any, where: str) -> T:
    """A configuration of class `kind`, nested ones included, from the fields in a config.json.

    Raises UsageError, beginning with `where`, for an unknown key (with the nearest valid one), a missing key or an
    invalid value.
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
    """The value of a field; where the field holds a configuration (or None), one made from the object `value`; where it
    holds a tuple, one made from a list."""
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(value)
    within = next((each for each in (kind, *get_args(kind)) if is_dataclass(each)), None)
    return value if within is None or value is None else config_from(within, value, where)  # type: ignore[arg-type]


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
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, get_args(kind)[0]) for each in value)
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
