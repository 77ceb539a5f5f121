"""`Float`, for shapes in signatures. jaxtyping is a development tool: without it annotations stay unread strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Float
else:
    try:
        from jaxtyping import Float
    except ModuleNotFoundError:
        Float = Any

__all__ = ["Float"]
