"""The fields of a request are part of the cache's key, on every kind of backend, and older caches are still found."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.llm.bodies import completion_body
from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import LLMConfig, Price, ServerConfig
from retrieval_gap.llm.request import AnswerScores, Api, Completion, Request, ScoreRequest, TooLong
from retrieval_gap.llm.wording import request_values
from retrieval_gap.machine.errors import UsageError
from tests.llm.scripted_model import ScriptedModel

OLD_CACHE = Path(__file__).parent / "fixtures" / "replies_of_first_format.sqlite"
# The requests in the cache of the first format, which had no system text, temperature or draw.
OLD_REQUESTS = [
    Request(prompt="Where is Łódź?", stop=("\nPassages:", "\nQuestion:"), max_tokens=160),
    Request(prompt="Where?", written=" Let me see.\n", stop=("[ENDSEARCH]",), max_tokens=16),
]
PLAIN = Request(prompt="Where?", max_tokens=5)
# Each adds fields to the plain request.
CHANGES: list[dict[str, Any]] = [
    {"system": "Be brief."},
    {"temperature": 0.5},
    {"draw": 1},
    {"temperature": 0.5, "draw": 1},
    {"schema": '{"type": "object"}'},
    {"grammar": 'root ::= "yes" | "no"'},
]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_replies_of_a_server_in_the_first_format_are_found(api: Api, tmp_path: Path) -> None:
    cache = Cache(Path(shutil.copy(OLD_CACHE, tmp_path)))
    url = f"http://localhost:8000/v1/{'chat/' if api == 'chat' else ''}completions"
    for place, request in enumerate(OLD_REQUESTS):
        body = completion_body(LLMConfig(model="org/small", api=api), ServerConfig(), request)
        assert cache.get({"url": url, "body": body}, Completion) == Completion(
            text=f" {api} {place}", finished=True, prompt_tokens=9, completion_tokens=3
        )


def test_replies_of_a_local_model_in_the_first_format_are_found(tmp_path: Path) -> None:
    cache = Cache(Path(shutil.copy(OLD_CACHE, tmp_path)))
    same = {"backend": "transformers 5.23.0", "fingerprint": "0123456789abcdef", "precision": "fp32"}
    for place, request in enumerate(OLD_REQUESTS):
        kept = cache.get(same | {"api": "completions", "body": request_values(request)}, Completion)
        assert kept == Completion(text=f" local {place}", finished=False, prompt_tokens=8, completion_tokens=2)


def test_each_field_of_a_request_is_in_the_key(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: f"{request.system} {request.temperature} {request.draw}")
    client = Client(model, Cache(tmp_path / "replies.sqlite"))
    requests = [PLAIN, *(dataclasses.replace(PLAIN, **change) for change in CHANGES)]
    first = client.ask(requests)
    assert len(model.asked) == len(requests)
    assert client.ask(requests) == first
    assert len(model.asked) == len(requests)
    assert client.spent.cached == len(requests)


def test_several_draws_of_one_request_are_several_answers(tmp_path: Path) -> None:
    model = ScriptedModel(lambda request: f"draw {request.draw}")
    client = Client(model, Cache(tmp_path / "replies.sqlite"))
    requests = [dataclasses.replace(PLAIN, temperature=1.0, draw=draw) for draw in range(3)]
    replies = client.ask(requests)
    assert [reply.text for reply in replies if isinstance(reply, Completion)] == ["draw 0", "draw 1", "draw 2"]


def test_scores_are_kept_and_not_asked_for_twice(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _: "", lambda _, answer: {" rain": -1.5, " sun": -0.25}[answer])
    request = ScoreRequest(prompt="Tomorrow:", answers=(" rain", " sun"))
    for asked in (1, 1):
        (scores,) = Client(model, Cache(tmp_path / "replies.sqlite")).score([request])
        assert scores == AnswerScores(log_likelihoods=(-1.5, -0.25), answer_tokens=(1, 1), prompt_tokens=3)
        assert isinstance(scores, AnswerScores)
        assert scores.best == 1
        assert len(model.asked) == asked


def test_calibration_subtracts_the_likelihoods_after_a_prompt_without_content() -> None:
    told = AnswerScores(log_likelihoods=(-1.0, -2.0), answer_tokens=(1, 2), prompt_tokens=9)
    without = AnswerScores(log_likelihoods=(-0.5, -3.0), answer_tokens=(1, 2), prompt_tokens=4)
    calibrated = told.calibrated(without)
    assert calibrated.log_likelihoods == (-0.5, 1.0)
    assert (told.best, calibrated.best) == (0, 1)
    assert calibrated.prompt_tokens == 13


def test_a_prompt_that_is_too_long_is_reported_and_not_kept(tmp_path: Path) -> None:
    model = ScriptedModel(lambda _: TooLong("9 of 8"))
    client = Client(model, Cache(tmp_path / "replies.sqlite"))
    assert client.ask([PLAIN]) == client.ask([PLAIN]) == [TooLong("9 of 8")]
    assert (len(model.asked), client.spent.requests) == (2, 0)


def test_answers_that_are_empty_or_cut_are_counted_and_reported(tmp_path: Path) -> None:
    said = {"nothing": " \n", "much": "one two three four", "well": "yes"}
    client = Client(ScriptedModel(lambda request: said[request.prompt]), Cache(tmp_path / "replies.sqlite"))
    client.ask([Request(prompt=prompt, max_tokens=3) for prompt in said])
    assert (client.spent.empty, client.spent.cut) == (1, 1)
    assert client.spent.summary(Price()).endswith("; 1 answers empty, 1 cut at --max-tokens")


@pytest.mark.parametrize(
    "change",
    [{"temperature": -1.0}, {"temperature": float("nan")}, {"max_tokens": 0}, {"draw": -1}, {"prompt": "a\ud800"}],
)
def test_a_request_that_cannot_be_sent_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        dataclasses.replace(PLAIN, **change)


def test_answers_to_be_scored_must_differ_and_not_be_empty() -> None:
    for answers in ((), ("a", ""), ("a", "a")):
        with pytest.raises(UsageError, match="empty or alike"):
            ScoreRequest(prompt="x", answers=answers)
