"""The client of a server: passing faults are tried again, others end in one clear line, and nothing is asked twice."""

import dataclasses
import json
import re
import threading
import time
from collections import Counter
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import LLMConfig, Price, ServerConfig
from retrieval_gap.llm.pace import asked_to_wait
from retrieval_gap.llm.request import AnswerScores, Api, Completion, Reply, Request, ScoreRequest, TooLong
from retrieval_gap.llm.server import ServerBackend
from retrieval_gap.machine.errors import RunError, UsageError
from tests.llm.scripted_server import Fault, Said, ScriptedServer, prompt_of

KEY = "sk-not-to-be-seen"


def backend(
    server: ScriptedServer, *, api: Api = "completions", limit: int = 0, count: Any = None, **changes: Any
) -> ServerBackend:
    config = ServerConfig(**{"base_url": server.url, "backoff_s": 0.01, "timeout_s": 5.0, **changes})
    return ServerBackend(LLMConfig(model="small", api=api, context_limit=limit), config, key=KEY, tokenizer=count)


def ask(asked: ServerBackend, prompts: list[str]) -> list[Reply]:
    replies: dict[int, Reply] = {}
    asked.complete([Request(prompt=p, stop=("\nEND",), max_tokens=7) for p in prompts], replies.__setitem__)
    return [replies[place] for place in range(len(prompts))]


def texts(replies: list[Reply]) -> list[str]:
    return [reply.text if isinstance(reply, Completion) else "too long" for reply in replies]


def echo(body: dict[str, Any]) -> Said:
    return "you said " + prompt_of(body)


class Words:
    """A tokenizer: a word is a token."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[str]]:
        return {"input_ids": text.split()}

    def __len__(self) -> int:
        return 1000


class Failing:
    """Replies to each prompt with the faults first, then with the echo."""

    def __init__(self, *faults: Fault) -> None:
        self.faults, self.seen = faults, Counter[str]()
        self.lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Said:
        with self.lock:
            number = self.seen[prompt_of(body)]
            self.seen[prompt_of(body)] += 1
        return self.faults[number] if number < len(self.faults) else echo(body)


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize("stream", [False, True])
def test_replies_come_back_in_order_in_both_forms_whole_or_streamed(api: Api, stream: bool) -> None:
    with ScriptedServer(echo) as server:
        replies = ask(backend(server, api=api, stream=stream), [f"word {i}" for i in range(20)])
    assert [text.strip() for text in texts(replies)] == [f"you said word {i}" for i in range(20)]
    assert {reply.prompt_tokens for reply in replies if isinstance(reply, Completion)} == {2}
    body = server.asked[0]
    assert (body["max_tokens"], body["temperature"], body["stop"]) == (7, 0, ["\nEND"])


def test_answers_of_a_server_that_ignores_stop_sequences_are_cut_at_them() -> None:
    with ScriptedServer(lambda body: "yes\nEND of it") as server:
        assert texts(ask(backend(server), ["a"])) == ["yes"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="0.05"),
        Fault(status=500),
        Fault(status=503),
        Fault(cut=True),
        Fault(status=200, told="not a completion"),
    ],
)
def test_faults_that_may_pass_are_tried_again(fault: Fault) -> None:
    with ScriptedServer(Failing(fault, fault)) as server:
        assert texts(ask(backend(server), ["a", "b", "c"])) == [f"you said {word}" for word in "abc"]
    assert len(server.asked) == 9


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_with_a_nonsense_count_of_tokens_is_kept(stream: bool) -> None:
    with ScriptedServer(echo) as server:
        server.read = lambda prompt: "many"  # type: ignore[assignment,return-value]
        (reply,) = ask(backend(server, stream=stream), ["a"])
    assert isinstance(reply, Completion)
    assert (reply.text.strip(), reply.prompt_tokens) == ("you said a", 0)


def test_a_stream_that_is_cut_off_is_asked_again_and_its_part_is_dropped() -> None:
    cut = iter(["you said <cut>", "you said <cut>"])
    with ScriptedServer(lambda body: next(cut, None) or echo(body)) as server:
        assert texts(ask(backend(server, stream=True), ["a"]))[0].strip() == "you said a"
    assert len(server.asked) == 3


def test_a_request_without_a_reply_is_asked_again() -> None:
    with ScriptedServer(Failing(Fault(silent=True))) as server:
        assert texts(ask(backend(server, timeout_s=0.2), ["a"])) == ["you said a"]


def test_the_wait_that_a_full_server_asks_for_is_kept() -> None:
    arrivals: list[float] = []
    failing = Failing(Fault(status=429, retry_after="0.4"))

    def answer(body: dict[str, Any]) -> Said:
        arrivals.append(time.monotonic())
        return failing(body)

    with ScriptedServer(answer) as server:
        ask(backend(server, concurrency=1), ["a"])
    assert arrivals[1] - arrivals[0] >= 0.4


def test_retry_after_is_read_as_seconds_or_as_a_date_in_any_form() -> None:
    assert asked_to_wait({"retry-after": "3"}) == 3
    soon = time.time() + 60
    for date in (
        formatdate(soon, usegmt=True),
        formatdate(soon),  # -0000
        time.asctime(time.gmtime(soon)),
        time.strftime("%a, %d %b %Y %H:%M:%S", time.gmtime(soon)),  # no zone
        time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime(soon)),
    ):
        assert asked_to_wait({"retry-after": date}) == pytest.approx(60, abs=2), date
    for nothing in ("soon", "", "-5", "nan", "Mon, 99 Abc 2026 99:99:99 GMT", "1 Jan 99999999999 00:00:00"):
        assert asked_to_wait({"retry-after": nothing}) == 0, nothing
    assert asked_to_wait({}) == 0


def test_requests_keep_to_the_rate_limit_and_the_concurrency() -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def answer(body: dict[str, Any]) -> Said:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.03)
        with lock:
            inside -= 1
        return echo(body)

    with ScriptedServer(answer) as server:
        ask(backend(server, concurrency=3), list("abcdefgh"))
        assert most == 3
        start = time.monotonic()
        ask(backend(server, requests_per_minute=60 / 0.05), list("abcdefgh"))
        assert time.monotonic() - start >= 7 * 0.05


def test_a_request_that_always_fails_is_an_error_after_the_others_are_answered() -> None:
    def answer(body: dict[str, Any]) -> Said:
        return Fault(status=500, told="out of order") if prompt_of(body) == "bad" else echo(body)

    replies: dict[int, Reply] = {}
    requests = [Request(prompt=p, max_tokens=1) for p in ("a", "bad", "b", "c")]
    with ScriptedServer(answer) as server, pytest.raises(RunError, match=r"1 of 4 requests failed.*out of order"):
        backend(server, tries=3).complete(requests, replies.__setitem__)
    assert sorted(replies) == [0, 2, 3]


def test_a_server_that_always_fails_is_given_up_soon() -> None:
    with ScriptedServer(lambda body: Fault(status=503)) as server, pytest.raises(RunError, match="3 of 500"):
        ask(backend(server, tries=2, concurrency=2), [str(i) for i in range(500)])
    assert len(server.asked) <= 2 * 5


def test_a_wait_that_is_too_long_is_an_error() -> None:
    with ScriptedServer(lambda body: Fault(status=429, retry_after="86400")) as server, pytest.raises(RunError):
        ask(backend(server), ["a"])


def test_a_refusal_ends_the_run_at_once_and_never_shows_the_key() -> None:
    said = Fault(status=401, told=f"Incorrect API key provided: {KEY}")
    with ScriptedServer(lambda body: said) as server, pytest.raises(RunError, match="Incorrect API key") as error:
        ask(backend(server), ["a"])
    assert KEY not in str(error.value)
    assert len(server.asked) == 1
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_missing_server_or_model_is_an_error_before_any_request() -> None:
    with ScriptedServer(echo, models=("smell", "large")) as server, pytest.raises(UsageError, match="did you mean"):
        backend(server)
    with pytest.raises(RunError, match="no server answers at http://127"):
        backend(server)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1", "http://h:99999/v1"])
def test_a_wrong_address_is_an_error(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        ServerConfig(base_url=url)
    with pytest.raises(UsageError, match="environment"):
        ServerConfig(base_url="http://me:secret@host/v1")


def test_a_prompt_refused_as_too_long_is_left_out_and_the_others_are_answered() -> None:
    def answer(body: dict[str, Any]) -> Said:
        return (
            Fault(status=400, told="the request exceeds the available context size")
            if "long" in prompt_of(body)
            else echo(body)
        )

    with ScriptedServer(answer) as server:
        replies = ask(backend(server), ["a", "long", "b"])
    assert texts(replies) == ["you said a", "too long", "you said b"]


def test_prompts_are_counted_with_the_models_tokenizer_if_there_is_one() -> None:
    with ScriptedServer(echo, max_model_len=17) as server:
        counted = backend(server, count=Words())
        replies = ask(counted, [" ".join("w" * n) for n in (10, 11)])
        assert isinstance(replies[0], Completion)
        assert replies[1] == TooLong("11 + 7 tokens, 17 are the limit")
        assert len(server.asked) == 1
        wider = backend(server, limit=18, count=Words())
        assert texts(ask(wider, [" ".join("w" * 11)])) != ["too long"]


def test_a_silently_cut_prompt_is_noticed_by_the_number_of_tokens_read() -> None:
    with ScriptedServer(echo) as server:
        server.read = lambda prompt: min(len(prompt.split()), 50)
        counted = backend(server, count=Words())
        assert texts(ask(counted, ["w " * 40, "w " * 80]))[1] == "too long"
        assert texts(ask(backend(server, limit=50), ["w " * 80])) == ["too long"]


def test_nothing_is_asked_twice_and_the_key_of_the_cache_is_the_whole_request(tmp_path: Path) -> None:
    request = Request(prompt="a", written="", stop=("x",), max_tokens=3)
    others = [
        dataclasses.replace(request, **change)
        for change in ({"prompt": "b"}, {"written": "c"}, {"stop": ("x", "y")}, {"max_tokens": 4})
    ]
    with ScriptedServer(echo) as server:
        client = Client(backend(server), Cache(tmp_path / "replies.sqlite"))
        first = client.ask([request, *others, request])
        assert (len(server.asked), client.spent.requests) == (5, 5)
        again = Client(backend(server), Cache(tmp_path / "replies.sqlite"))
        assert again.ask([request, *others, request]) == first
        assert (len(server.asked), again.spent.requests, again.spent.cached) == (5, 0, 5)
        Client(backend(server, api="chat"), Cache(tmp_path / "replies.sqlite")).ask([request])
        assert len(server.asked) == 6
    assert KEY.encode() not in (tmp_path / "replies.sqlite").read_bytes()


def test_tokens_and_their_price_are_counted_once(tmp_path: Path) -> None:
    price = Price(price_read=2.0, price_written=10.0)
    with ScriptedServer(echo) as server:
        client = Client(backend(server), Cache(tmp_path / "replies.sqlite"))
        client.ask([Request(prompt="two words", max_tokens=3)] * 3)
        client.ask([Request(prompt="two words", max_tokens=3)])
    assert (client.spent.read, client.spent.written) == (2, 4)
    assert "0.0000 dollars" in client.spent.summary(price)
    assert price.of(1_000_000, 500_000) == 7.0


def test_a_damaged_cache_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "replies.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(RunError, match="is damaged"):
        Cache(tmp_path / "replies.sqlite")


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_system_text_temperature_and_draw_reach_the_server(api: Api) -> None:
    request = Request(prompt="Where?", system="Be brief.", temperature=0.5, draw=3, max_tokens=7)
    with ScriptedServer(echo) as server:
        backend(server, api=api).complete([request], lambda place, reply: None)
        backend(server, api=api, system_as="user").complete([request], lambda place, reply: None)
    own, folded = server.asked
    assert (own["temperature"], own["seed"]) == (0.5, 3)
    if api == "completions":
        assert own["prompt"] == folded["prompt"] == "Be brief.\n\nWhere?"
    else:
        system, user = own["messages"]
        assert (system["role"], system["content"], user["content"]) == ("system", "Be brief.", "Where?")
        assert folded["messages"] == [{"role": "user", "content": "Be brief.\n\nWhere?"}]


PLAIN = Request(prompt="Where?", max_tokens=7)
SCHEMA = '{"type": "object", "properties": {"sky": {"enum": ["rain", "sun"]}}}'


@pytest.mark.parametrize(
    ("words", "form", "sent"),
    [
        ("llama.cpp", {"schema": SCHEMA}, {"json_schema": json.loads(SCHEMA)}),
        ("llama.cpp", {"grammar": "root ::= x"}, {"grammar": "root ::= x"}),
        ("vllm", {"schema": SCHEMA}, {"structured_outputs": {"json": json.loads(SCHEMA)}}),
        ("vllm", {"grammar": "root ::= x"}, {"structured_outputs": {"grammar": "root ::= x"}}),
        (
            "openai",
            {"schema": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": json.loads(SCHEMA), "strict": True},
                }
            },
        ),
    ],
)
def test_a_schema_or_grammar_is_sent_in_the_servers_own_form(
    words: str, form: dict[str, str], sent: dict[str, Any]
) -> None:
    with ScriptedServer(echo) as server:
        backend(server, structured=words).complete(
            [dataclasses.replace(PLAIN, **form)],  # type: ignore[arg-type]
            lambda place, reply: None,
        )
    assert sent.items() <= server.asked[0].items()


def test_a_schema_or_grammar_for_a_server_that_takes_none_is_refused() -> None:
    with ScriptedServer(echo) as server:
        for words, form in (("none", {"schema": SCHEMA}), ("openai", {"grammar": "root ::= x"})):
            with pytest.raises(UsageError, match="--structured"):
                backend(server, structured=words).complete(
                    [dataclasses.replace(PLAIN, **form)],  # type: ignore[arg-type]
                    lambda place, reply: None,
                )
        assert server.asked == []


def words_with_likelihoods(body: dict[str, Any]) -> Said:
    """Repeats the prompt as vLLM does: each word, with the blank before it, is a token of -1 nat per letter."""
    words = re.findall(r"\S+|\s+\S+", body["prompt"])
    told = [None, *(-float(len(word.strip())) for word in words[1:])]
    logprobs = {"tokens": [*words, " more"], "token_logprobs": [*told, -9.0]}
    return {
        "choices": [{"text": body["prompt"] + " more", "finish_reason": "length", "logprobs": logprobs}],
        "usage": {"prompt_tokens": len(words), "completion_tokens": 1},
    }


def scored(server: ScriptedServer, request: ScoreRequest, **changes: Any) -> Any:
    found: dict[int, Any] = {}
    backend(server, **changes).score([request], found.__setitem__)
    return found[0]


def test_answers_are_scored_by_the_likelihoods_of_the_repeated_prompt() -> None:
    request = ScoreRequest(prompt="Sky tomorrow:", system="Forecast.", answers=(" rain", " a little snow"))
    with ScriptedServer(words_with_likelihoods) as server:
        assert scored(server, request) == AnswerScores(
            log_likelihoods=(-4.0, -11.0), answer_tokens=(1, 3), prompt_tokens=2 * 3 + 4
        )
    assert all(body["echo"] and body["logprobs"] == 1 and body["max_tokens"] == 1 for body in server.asked)
    assert server.asked[0]["prompt"] == "Forecast.\n\nSky tomorrow: rain"


def test_a_server_that_reports_no_likelihoods_is_an_error_of_one_line() -> None:
    request = ScoreRequest(prompt="Sky:", answers=(" rain",))
    with ScriptedServer(echo) as server:
        with pytest.raises(RunError, match="reports no likelihoods") as error:
            scored(server, request)
        assert "\n" not in str(error.value)
        assert len(server.asked) == 2
        with pytest.raises(UsageError, match="--api completions"):
            scored(server, request, api="chat")


@pytest.mark.parametrize(
    "said",
    [
        Fault(status=400, told="maximum context length is 8"),
        {"error": {"message": "maximum context length is 8"}},  # under status 200
    ],
)
def test_a_prompt_too_long_to_be_scored_is_left_out(said: Any) -> None:
    with ScriptedServer(lambda body: said) as server:
        assert isinstance(scored(server, ScoreRequest(prompt="Sky:", answers=(" rain",))), TooLong)


@pytest.mark.parametrize(
    "told",
    [
        lambda words: {"count": len(words), "max_model_len": 8, "tokens": list(range(len(words)))},  # vLLM
        lambda words: {"tokens": list(range(len(words)))},  # llama.cpp
        lambda words: [{"id": 1, "text": word} for word in words],  # TGI
    ],
)
def test_the_server_counts_the_tokens_of_each_text_once(told: Any) -> None:
    with ScriptedServer(echo) as server:
        server.tokenize = lambda body: told(body["content"].split())
        asked = backend(server)
        assert [asked.count_tokens(text) for text in ("a b c", "", "a b c")] == [3, 0, 3]
        assert server.counted == ["a b c", ""]


def test_a_server_that_counts_no_tokens_needs_a_tokenizer() -> None:
    with ScriptedServer(echo) as server:
        with pytest.raises(RunError, match="--tokenizer"):
            backend(server).count_tokens("a b")
        assert backend(server, count=Words()).count_tokens("a b") == 2
        assert (backend(server).vocabulary, backend(server, count=Words()).vocabulary) == (0, 1000)
    with ScriptedServer(echo, meta={"n_vocab": 49152}) as server:
        assert backend(server).vocabulary == 49152


WORDS = {"a": -1.0, " r": -2.0, " rain": -0.5, " rai": -3.0, "y": -0.25, " snow": -9.0}


@pytest.mark.parametrize("form", ["a list with bytes", "a map by text"])
def test_answers_are_scored_token_by_token_if_only_the_next_tokens_likelihoods_are_reported(form: str) -> None:
    def likeliest(body: dict[str, Any]) -> Said:
        """As llama.cpp replies; " snow" is listed only if more than 1000 tokens are."""
        told = {word: likely for word, likely in WORDS.items() if word != " snow" or body["logprobs"] > 1000}
        listed = [{"token": "?", "bytes": [*word.encode()], "logprob": likely} for word, likely in told.items()]
        logprobs = {"content": [{"top_logprobs": listed}]} if "list" in form else {"top_logprobs": [told]}
        return {"choices": [{"text": "x", "logprobs": logprobs}]}

    request = ScoreRequest(prompt="Sky:", answers=(" rain", " rainy", " rainyy", " snow"))
    with ScriptedServer(likeliest, meta={"n_vocab": 5000}) as server:
        assert scored(server, request) == AnswerScores(
            log_likelihoods=(-0.5, -0.75, -1.0, -9.0), answer_tokens=(1, 2, 3, 1), prompt_tokens=0
        )
        walked = [body for body in server.asked if "echo" not in body]
        assert [body["prompt"] for body in walked] == ["Sky:", "Sky: rain", "Sky: rainy", "Sky:"]
        assert [body["logprobs"] for body in walked] == [1000, 1000, 1000, 5000]
        with pytest.raises(RunError, match="none of the 5000 tokens"):
            scored(server, ScoreRequest(prompt="Sky:", answers=(" hail",)))


def test_a_server_that_still_loads_its_model_is_waited_for(tmp_path: Path) -> None:
    with ScriptedServer(echo, max_model_len=512) as server:
        server.tokenize, server.loading = lambda body: {"count": 3}, 2
        asked = backend(server, backoff_s=0.001)
        assert asked.context_limit == 512
        server.loading = 2
        assert asked.count_tokens("Where is it?") == 3
        server.loading = 9
        with pytest.raises(RunError, match="counts no tokens"):
            backend(server, backoff_s=0.001, tries=2).count_tokens("Where?")


def test_a_server_that_never_ends_loading_is_not_waited_for_after_the_last_try(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with ScriptedServer(echo) as server:
        server.loading = 9
        monkeypatch.setattr("retrieval_gap.llm.server.time.sleep", waits.append)
        assert backend(server, backoff_s=1, tries=3).context_limit == 0
        assert server.loading == 6
    assert len(waits) == 2
    assert 1 <= waits[0] <= 1.5 < 2 <= waits[1] <= 3
