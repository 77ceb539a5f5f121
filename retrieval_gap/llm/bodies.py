"""Request bodies for a server, as JSON, in OpenAI's two forms, with the variants of servers that differ."""

import json
from typing import Any

from retrieval_gap.llm.config import LLMConfig, ServerConfig, Structured
from retrieval_gap.llm.families import family_of
from retrieval_gap.llm.request import Request, ScoreRequest
from retrieval_gap.llm.wording import asking_turns, going_on, prompt_text
from retrieval_gap.machine.errors import UsageError


def completion_body(model: LLMConfig, server: ServerConfig, request: Request) -> dict[str, Any]:
    """The body for a completion.  Raises UsageError for a grammar or schema that the server is not known to take."""
    family = family_of(model.model)
    body: dict[str, Any] = {"model": model.model, family.limit: request.max_tokens}
    if family.greedy:
        body |= {"temperature": request.temperature or 0, "stop": [*request.stop]}
    if family.greedy and request.temperature:
        body["seed"] = request.draw
    body |= _structure(server.structured, request)
    if model.api == "completions":
        return body | {"prompt": prompt_text(request)}
    system_turn = family.system_turn if server.system_as == "auto" else server.system_as == "system"
    return body | {"messages": asking_turns(request, system_turn=system_turn) + going_on(request)}


def echo_body(model: LLMConfig, request: ScoreRequest, answer: str) -> dict[str, Any]:
    """Asks for the likelihood of all that the server reads: the prompt and the answer.

    One token is generated, because not every server accepts 0.
    """
    text = prompt_text(request) + answer
    return {"model": model.model, "prompt": text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}


def next_token_body(model: LLMConfig, request: ScoreRequest, written: str, top: int) -> dict[str, Any]:
    """Asks for the likeliest next tokens.  ignore_eos: else llama.cpp reports none where a text may end."""
    same = {"model": model.model, "max_tokens": 1, "temperature": 0, "ignore_eos": True}
    return same | {"prompt": prompt_text(request) + written, "logprobs": top}


def tokenize_body(model: LLMConfig, text: str) -> dict[str, Any]:
    """vLLM and SGLang read `prompt`, llama.cpp `content`, TGI `inputs`; each ignores the other fields."""
    return {"model": model.model, "prompt": text, "content": text, "inputs": text, "add_special_tokens": False}


def _structure(words: Structured, request: Request) -> dict[str, Any]:
    if not (request.schema or request.grammar):
        return {}
    schema = json.loads(request.schema) if request.schema else None
    if words == "openai" and schema is not None:
        named = {"name": "answer", "schema": schema, "strict": True}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    if words == "llama.cpp":
        return {"grammar": request.grammar} if schema is None else {"json_schema": schema}
    if words == "vllm":
        return {"structured_outputs": {"grammar": request.grammar} if schema is None else {"json": schema}}
    what = "grammar" if schema is None else "JSON schema"
    raise UsageError(f"a {what} is asked for; --structured says whose words the server understands (now {words})")
