"""Frozen configurations made again from JSON, every key and value checked as if a stranger had written it."""

from dataclasses import is_dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tasks.api import TaskError

T = TypeVar("T")


def built(kind: type[T], value: Any, where: str) -> T:
    """An object of a configuration, and of those within it.

    Raises UsageError, beginning with `where`, for a key that there is not (naming the nearest valid one), for one that
    is missing, and for a value that will not do.
    """
    if not isinstance(value, dict):
        raise UsageError(f"{where}: an object is wanted where {value!r:.40} stands")
    hints = {name: hint for name, hint in get_type_hints(kind).items() if get_origin(hint) is not ClassVar}
    for key in value:
        if key not in hints:
            raise UsageError(f"{where}: {unknown('key', key, hints)}")
    filled = {key: _value(hints[key], each, f"{where}: {key}") for key, each in value.items()}
    try:
        return kind(**filled)
    except (TypeError, UsageError, TaskError) as error:
        raise UsageError(f"{where}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        return built(hint, value, where)
    fits = value in get_args(hint) if get_origin(hint) is Literal else type(value) is hint
    if hint is float and type(value) is int:
        fits = True
    if not fits:
        raise UsageError(f"{where} = {value!r:.40} will not do")
    return value
