"""Faulty replies of servers: none is kept, scored or shown as an answer; each error is one clear line."""

import json
import os
import re
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import LLMConfig, Price, ServerConfig
from retrieval_gap.llm.request import Completion, Request, TooLong
from retrieval_gap.llm.server import ServerBackend
from retrieval_gap.llm.too_long import FORMS, says_too_long
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.printing import keep_secret, printable, redacted
from tests.llm.scripted_server import Fault, Said, ScriptedServer, prompt_of

KEY = "sk-not/to be seen"
REQUEST = Request(prompt="Where?", max_tokens=7)


def client(server: ScriptedServer, folder: Path, name: str = "", **changes: Any) -> Client:
    config = ServerConfig(**{"base_url": server.url, "backoff_s": 0.001, "timeout_s": 5.0, "tries": 2, **changes})
    backend = ServerBackend(LLMConfig(model="small", name=name), config, key=KEY)
    return Client(backend, Cache(folder / "replies.sqlite"))


def text_of(asked: Client, request: Request = REQUEST) -> str:
    (reply,) = asked.ask([request])
    assert isinstance(reply, Completion)
    return reply.text


def ended(finish: str | None, text: str = "half an ans") -> dict[str, Any]:
    return {"choices": [{"text": text, "finish_reason": finish}]}


def streamed(*events: Any) -> list[str]:
    return [*(f"data: {json.dumps(event, ensure_ascii=False)}" for event in events), "data: [DONE]"]


# Replies that must not be kept as answers.


@pytest.mark.parametrize("finish", ["abort", "error", "content_filter", "tool_calls", 7])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_ended_by_a_fault_is_asked_again_then_reported_and_never_kept(
    finish: Any, stream: bool, tmp_path: Path
) -> None:
    said: list[Any] = [ended(finish)] * 2
    with ScriptedServer(lambda body: streamed(*said[:1]) if stream else said[0]) as server:
        asked = client(server, tmp_path, stream=stream)
        with pytest.raises(RunError, match=re.escape(f"the server ended an answer with {finish!r} (after 2 tries)")):
            asked.ask([REQUEST])
        assert len(server.asked) == 2
        said[0] = ended("stop", "whole")
        assert text_of(asked) == "whole"
        assert len(server.asked) == 3


@pytest.mark.parametrize(("finish", "finished"), [("stop", True), ("length", False), (None, True)])
def test_answers_with_a_normal_end_are_kept(finish: str | None, finished: bool, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: ended(finish)) as server:
        (reply,) = client(server, tmp_path).ask([REQUEST])
        assert reply == Completion(text="half an ans", finished=finished)


def test_a_model_of_another_name_at_the_same_address_gets_its_own_answers(tmp_path: Path) -> None:
    weights = "first"
    with ScriptedServer(lambda body: f"says the {weights}") as server:
        assert text_of(client(server, tmp_path, "first")) == "says the first"
        weights = "second"
        assert text_of(client(server, tmp_path, "second")) == "says the second"
        assert text_of(client(server, tmp_path, "first")) == "says the first"
        assert len(server.asked) == 2


def test_a_model_of_other_weights_at_the_same_address_gets_its_own_answers(
    tmp_path: Path,
) -> None:
    with ScriptedServer(lambda body: f"says {server.entry['root']}", root="/weights/a", created=1) as server:
        assert text_of(client(server, tmp_path)) == "says /weights/a"
        server.entry = {"root": "/weights/b", "created": 1}
        assert text_of(client(server, tmp_path)) == "says /weights/b"
        server.entry = {"root": "/weights/a", "created": 2, "max_model_len": 99}  # restarted with the same weights
        assert text_of(client(server, tmp_path)) == "says /weights/a"
        assert len(server.asked) == 2


def test_answers_cached_with_the_address_alone_are_found_unless_the_model_has_its_own_name(
    tmp_path: Path,
) -> None:
    with ScriptedServer(lambda body: "new", root="/weights/a") as server:
        asked = client(server, tmp_path)
        first = {key: value for key, value in asked.backend.whole(REQUEST).items() if key != "server"}
        Cache(tmp_path / "replies.sqlite").put(first, Completion(text="old", finished=True))
        assert text_of(asked) == "old"
        assert text_of(client(server, tmp_path, "another")) == "new"


# Line ends and characters outside ASCII.

ODD = "one\u2028two\u2029three\u0085four\u000bfive"


@pytest.mark.parametrize("stream", [False, True])
def test_line_separators_of_unicode_are_part_of_an_answer(stream: bool, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: streamed(ended("stop", ODD)) if stream else ended("stop", ODD)) as server:
        assert text_of(client(server, tmp_path, stream=stream)) == ODD


def test_streams_may_end_lines_with_carriage_returns(tmp_path: Path) -> None:
    lines = [line + "\r" for line in streamed(ended("stop", "Łódź"))]
    with ScriptedServer(lambda body: lines) as server:
        assert text_of(client(server, tmp_path, stream=True)) == "Łódź"


# Messages of servers.

TOO_LONG = {
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "Groq": '{"error": {"message": "Please reduce the length of the messages or completion.", "code": 1}}',
    "vLLM": "The decoder prompt (length 2100) is longer than the maximum model length of 2048.",
    "llama.cpp": "the request exceeds the available context size, try increasing it",
    "llama.cpp, batch": "input is too large to process. increase the physical batch size",
    "SGLang": "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    "SGLang, both": "Requested token count exceeds the model's maximum context length of 4096 tokens.",
    "TGI": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
    "TGI, both": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 and 20",
    "Gemini": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Anthropic": "prompt is too long: 200501 tokens > 200000 maximum",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    "Mistral": "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "Cohere": "too many tokens: size limit exceeded by 1000 tokens.",
    "TensorRT-LLM": "Prompt length (5000) exceeds maximum input length (4096).",
    "Bedrock": "Input is too long for requested model.",
    "LM Studio": "the model is loaded with context length of only 4096 tokens",
}


@pytest.mark.parametrize("name", TOO_LONG)
@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_prompt_that_is_too_long_is_understood_in_each_servers_words(name: str, status: int, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Fault(status=status, told=TOO_LONG[name])) as server:
        (reply,) = client(server, tmp_path).ask([REQUEST])
        assert isinstance(reply, TooLong)
        assert len(server.asked) == 1


def test_each_form_in_the_table_matches_a_tested_message_and_no_other_fault() -> None:
    for words in FORMS.values():
        assert any(re.search(words, told, re.IGNORECASE | re.DOTALL) for told in TOO_LONG.values()), words
    for other in ("the model is overloaded", "rate limit: too many tokens per minute", "CUDA out of memory", ""):
        assert not says_too_long(other), other


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_understood_inside_a_reply_of_status_200(stream: bool, tmp_path: Path) -> None:
    fault = {"error": {"message": TOO_LONG["SGLang"], "code": 400}}
    with ScriptedServer(lambda body: streamed(fault) if stream else fault) as server:
        (reply,) = client(server, tmp_path, stream=stream).ask([REQUEST])
        assert reply == TooLong(TOO_LONG["SGLang"])


def test_a_refusal_in_unknown_words_names_the_flag_that_may_help(tmp_path: Path) -> None:
    said = Fault(status=422, told="no")
    with ScriptedServer(lambda body: said) as server, pytest.raises(RunError, match="--context-limit"):
        client(server, tmp_path).ask([REQUEST])


def test_a_server_error_that_is_not_about_length_is_tried_again(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: Fault(status=500, told="CUDA error")) as server:
        with pytest.raises(RunError, match="CUDA error"):
            client(server, tmp_path).ask([REQUEST])
        assert len(server.asked) == 2


EMPTY: dict[str, Any] = {
    "null content": {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
    "reasoning alone": {
        "choices": [{"message": {"content": None, "reasoning_content": "hm"}, "finish_reason": "length"}]
    },
    "thinking alone": {"choices": [{"message": {"content": "<think>hm"}, "finish_reason": "length"}]},
    "no choices": {"choices": [], "usage": {"prompt_tokens": 3}},
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_answers_are_counted_and_reported(name: str, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: EMPTY[name]) as server:
        asked = client(server, tmp_path)
        assert text_of(asked) == ""
        told = asked.spent.summary(Price())
        assert "1 answers empty" in told
        assert ("1 cut at --max-tokens" in told) == (name in ("reasoning alone", "thinking alone"))
        assert len(server.asked) == (2 if name == "no choices" else 1), "no choices may be a fault that passes"


def test_thinking_is_removed_from_the_answer(tmp_path: Path) -> None:
    said = iter(("<think>Is it A?\nNo.</think>\n\nB", "Is it A? No.</think>B", "B"))
    with ScriptedServer(lambda body: next(said)) as server:
        asked = client(server, tmp_path)
        assert [text_of(asked, Request(prompt=prompt, max_tokens=9)) for prompt in "abc"] == ["B"] * 3


# The machine of the client: proxies, certificates, open files.


def test_a_socks_proxy_without_its_package_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ScriptedServer(lambda body: "x") as server, pytest.raises(UsageError, match=r"ALL_PROXY.*socksio"):
        client(server, tmp_path)


@pytest.mark.parametrize("address", ["gopher://me:hidden@127.0.0.1:9", "socks5://me:hidden@127.0.0.1:9"])
def test_an_unusable_proxy_is_named_without_its_password(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", address)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ScriptedServer(lambda body: "x") as server, pytest.raises(UsageError, match="ALL_PROXY") as error:
        client(server, tmp_path)
    assert "hidden" not in str(error.value)
    assert "127.0.0.1:9" in str(error.value)


def test_a_missing_file_of_certificates_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with ScriptedServer(lambda body: "x") as server, pytest.raises(UsageError, match=r"SSL_CERT_FILE=.*none\.pem"):
        client(server, tmp_path)


def test_too_many_open_files_are_not_blamed_on_the_server(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def slowly(body: dict[str, Any]) -> str:
        time.sleep(0.2)
        return "x"

    with ScriptedServer(slowly) as server:
        asked = client(server, tmp_path, concurrency=200)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1]))
        try:
            with pytest.raises(RunError, match=r"may open \d+ files at once \(`ulimit -n`\).*--concurrency"):
                asked.ask([replace(REQUEST, prompt=str(i)) for i in range(200)])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# Secrets.

ECHOES: dict[str, Said] = {
    "a broken body": {"oops": f"Authorization: Bearer {KEY}"},
    "a refusal": Fault(status=400, told=f"bad header Bearer {KEY}"),
    "a fault": Fault(status=500, told=KEY),
    "an error in a reply": {"error": {"message": f"who is {KEY}?"}},
    "an error in a stream": streamed({"error": {"message": f"who is {KEY}?"}}),
    "an event that is none": [f"data: {{{KEY}"],
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_a_server_repeats_is_not_printed(name: str, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: ECHOES[name]) as server:
        asked = client(server, tmp_path, stream=isinstance(ECHOES[name], list))
        with pytest.raises(RunError) as error:
            asked.ask([REQUEST])
        assert KEY not in str(error.value)
        assert "[key]" in str(error.value)


@pytest.mark.parametrize("key", ["none", "x", "EMPTY"])
def test_a_placeholder_key_leaves_answers_unchanged(key: str) -> None:
    keep_secret(key)
    assert redacted("none of the next is EMPTY") == "none of the next is EMPTY"


@pytest.mark.parametrize("stream", [False, True])
def test_a_key_that_an_answer_repeats_is_not_kept(stream: bool, tmp_path: Path) -> None:
    halves = [{"choices": [{"text": part}]} for part in (f"it is {KEY[:5]}", f"{KEY[5:]}.")]
    said = streamed(*halves, ended("stop", "")) if stream else ended("stop", f"it is {KEY}.")
    with ScriptedServer(lambda body: said) as server:
        assert text_of(client(server, tmp_path, stream=stream)) == "it is [key]."
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "url", ["http://host/v1?api-key=sk-1", "http://sk-1:x@host/v1", "http://sk-1@:99999/v1?a=sk-1"]
)
def test_a_key_in_the_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as error:
        ServerConfig(base_url=url)
    assert "sk-1" not in str(error.value)


def test_control_characters_are_printed_escaped() -> None:
    assert printable("a\x1b]0;owned\x07b\x9bc\u202ed\te\nf") == "a\\x1b]0;owned\\x07b\\x9bc\\u202ed\te\nf"


def test_prompts_reach_the_server_whole(tmp_path: Path) -> None:
    with ScriptedServer(lambda body: "you said " + prompt_of(body)) as server:
        assert text_of(client(server, tmp_path), Request(prompt=ODD, max_tokens=7)) == "you said " + ODD
