"""JSON as a model writes it into a reply."""

import json
from typing import Any


def read_json(text: str) -> Any:
    """Parse JSON; half a character (a lone surrogate), which no log can hold, becomes "?".

    Raises ValueError or RecursionError for text that is not JSON.
    """
    value = json.loads(text)
    return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def read_object(reply: str) -> dict[str, Any] | None:
    """The object from a reply's first brace to its last, None if there is none."""
    start, end = reply.find("{"), reply.rfind("}")
    try:
        value = read_json(reply[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
