"""Requests as text or turns: one form for local models, servers and the keys of the cache."""

from dataclasses import asdict, fields
from typing import Any

from retrieval_gap.llm.request import Request, ScoreRequest

GO_ON = "Go on exactly where you stopped."
# Fields of a request that the first caches did not have; with these values they are not part of a key.
LATER = {"system": "", "temperature": 0.0, "draw": 0, "schema": "", "grammar": ""}


def prompt_text(request: Request | ScoreRequest) -> str:
    """All text before what the model writes, for a model without turns."""
    system = f"{request.system}\n\n" if request.system else ""
    return f"{system}{request.prompt}{request.written}"


def asking_turns(request: Request | ScoreRequest, *, system_turn: bool) -> list[dict[str, str]]:
    """The turns before the model's own.  system_turn: whether the model has one; otherwise the system text begins the
    user's turn."""
    if not request.system:
        return [{"role": "user", "content": request.prompt}]
    if system_turn:
        return [{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}]
    return [{"role": "user", "content": f"{request.system}\n\n{request.prompt}"}]


def going_on(request: Request) -> list[dict[str, str]]:
    """The turns to add if a part of the answer is written."""
    if not request.written:
        return []
    return [{"role": "assistant", "content": request.written}, {"role": "user", "content": GO_ON}]


def request_values(request: Request | ScoreRequest) -> dict[str, Any]:
    """A request as JSON, without `LATER` fields at these values: older requests keep the keys that they had."""
    values = asdict(request)
    return {
        field.name: values[field.name]
        for field in fields(request)
        if field.name not in LATER or values[field.name] != LATER[field.name]
    }
