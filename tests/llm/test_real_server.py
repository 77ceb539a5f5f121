"""The client against a real server, llama.cpp with SmolLM2 (`make test-server`).  No test asserts what a small model
says, only that it keeps to a grammar, how many tokens a text has, and how likely answers are."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from retrieval_gap.llm.config import LLMConfig, LocalConfig, ServerConfig
from retrieval_gap.llm.local import LocalBackend
from retrieval_gap.llm.packaged import MODELS, check_weights, convert
from retrieval_gap.llm.request import Api, Completion, Request, ScoreRequest
from retrieval_gap.llm.server import ServerBackend
from tests.llm.real_server import FOLDER, IS_THERE, serving

WEIGHTS = FOLDER / MODELS["SmolLM2-135M-Instruct"].weights
SCHEMA = '{"type": "object", "properties": {"sky": {"enum": ["rain", "sun"]}}, "required": ["sky"]}'
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_THERE, reason="xllamacpp is not in .models/server"),
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


def backend(url: str, api: Api = "completions", **changes: Any) -> ServerBackend:
    config = ServerConfig(base_url=url, structured="llama.cpp", **changes)
    return ServerBackend(LLMConfig(model=str(WEIGHTS), api=api), config)


def answer(asked: ServerBackend, request: Request) -> Completion:
    found: list[Any] = []
    asked.complete([request], lambda _, reply: found.append(reply))
    assert isinstance(found[0], Completion)
    return found[0]


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("stream", [False, True])
def test_the_model_keeps_to_a_schema_or_grammar(url: str, api: Api, stream: bool) -> None:
    asked = backend(url, api, stream=stream)
    request = Request(
        prompt="How is the sky tomorrow?", system="Forecast.", max_tokens=60, grammar='root ::= "yes" | "no"'
    )
    assert answer(asked, request).text in ("yes", "no")
    if api == "chat":
        said = answer(asked, Request(prompt="How is the sky tomorrow?", max_tokens=60, schema=SCHEMA))
        assert json.loads(said.text)["sky"] in ("rain", "sun")
        assert said.prompt_tokens > 0


def test_tokens_and_likelihoods_are_those_of_the_same_weights_in_transformers(url: str, tmp_path: Any) -> None:
    check_weights(WEIGHTS, MODELS["SmolLM2-135M-Instruct"].sha256)
    convert(WEIGHTS, tmp_path / "model")
    local = LocalBackend(LLMConfig(model=str(tmp_path / "model")), LocalConfig(device="cpu", precision="fp32"))
    served, scores = backend(url), list[Any]()
    for text in ("hello world", "", "Łódź — 東京", "a  b\n\nc"):
        assert served.count_tokens(text) == local.count_tokens(text)
    assert served.vocabulary == local.vocabulary
    request = ScoreRequest(prompt="The capital of France is", answers=(" Paris", " London", " Paris, of course"))
    for each in (served, local):
        each.score([request], lambda _, told: scores.append(told))
    assert scores[0].answer_tokens == scores[1].answer_tokens
    # llama.cpp multiplies by the quantised weights, transformers by the dequantised ones
    assert scores[0].log_likelihoods == pytest.approx(scores[1].log_likelihoods, abs=0.4)


def test_a_prompt_that_does_not_fit_is_too_long(url: str) -> None:
    found: list[Any] = []
    backend(url).complete([Request(prompt="word " * 3000, max_tokens=5)], lambda _, reply: found.append(reply))
    assert type(found[0]).__name__ == "TooLong"
