"""Llama, Gemma and GPT through one client: what a server receives, what is removed from an answer, and tiny models of
each architecture with templates like theirs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.llm.config import LLMConfig, LocalConfig, ServerConfig
from retrieval_gap.llm.families import family_of, without_reasoning
from retrieval_gap.llm.local import LocalBackend
from retrieval_gap.llm.request import AnswerScores, Completion, Reply, Request, Scored, ScoreRequest, TooLong
from retrieval_gap.llm.server import ServerBackend
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory.scripted import count_tokens, note_taker
from retrieval_gap.text_memory.settings import Settings
from tests.llm import tiny_models
from tests.llm.scripted_server import Fault, Said, ScriptedServer, prompt_of

# Templates like the families' own, without tools.
LLAMA = """{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{{- "<s><|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- set messages = messages[1:] %}{%- endif %}
{{- "<|eot_id|>" }}{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""
GEMMA = """{{- "<s>" }}
{%- if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}
{%- for message in messages %}
{{- '<start_of_turn>' + message['role'] + '\\n' + message['content'] + '<end_of_turn>\\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"""
GPT_OSS = """{{- "<|start|>system<|message|>Current date: " + strftime_now("%Y-%m-%d") + "<|end|>" }}
{%- for message in messages %}{%- set role = 'developer' if message['role'] == 'system' else message['role'] %}
{{- "<|start|>" + role + "<|message|>" + message['content'] + "<|end|>" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{%- endif %}"""
CHANNELS = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>")
TEMPLATES = {"llama": LLAMA, "gemma3": GEMMA, "gpt_oss": GPT_OSS}
REQUEST = Request(prompt="Where?", system="Be brief.", max_tokens=7)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "llama"), ("/weights/SmolLM2-135M-Instruct/", "llama"),
        ("google/gemma-3-27b-it", "gemma"), ("gpt-4.1-mini", "gpt"), ("openai/gpt-oss-120b", "gpt"),
        ("gpt-5-mini", "gpt, thinking"), ("o3", "gpt, thinking"), ("o4-mini-2025-04-16", "gpt, thinking"),
        ("gpt-5-chat-latest", "gpt"), ("allenai/OLMo-2-7B", "other"), ("/gemma/weights", "other"),
    ],
)  # fmt: skip
def test_the_last_part_of_a_name_decides_the_family(model: str, family: str) -> None:
    assert family_of(model).name == family


def served(model: str, **changes: Any) -> tuple[dict[str, Any], Reply]:
    """The body of `REQUEST` as a chat with a model, and the client's reply for the server's echo."""
    found: list[Reply] = []
    with ScriptedServer(prompt_of, models=(model,)) as server:
        config = ServerConfig(base_url=server.url, backoff_s=0.01, **changes)
        ServerBackend(LLMConfig(model=model, api="chat"), config).complete([REQUEST], lambda _, r: found.append(r))
    (body,) = server.asked
    return body, found[0]


def test_each_family_gets_requests_in_its_own_form(capsys: pytest.CaptureFixture[str]) -> None:
    system = {"role": "system", "content": "Be brief."}
    folded = [{"role": "user", "content": "Be brief.\n\nWhere?"}]
    for model in ("llama-3", "gpt-4.1"):
        body, _ = served(model)
        assert (body["messages"][0], body["max_tokens"], body["temperature"]) == (system, 7, 0)
    body, _ = served("gemma-3-4b-it")
    assert (body["messages"], body["max_tokens"]) == (folded, 7)
    assert capsys.readouterr().err == ""
    body, _ = served("gpt-5-mini")
    assert (body["messages"][0], body["max_completion_tokens"]) == (system, 7)
    assert not {"temperature", "max_tokens", "seed", "stop"} & set(body)
    assert capsys.readouterr().err == "gpt-5-mini takes no temperature: its answers differ from run to run\n"


def test_a_flag_overrides_the_family() -> None:
    assert served("llama-3", system_as="user")[0]["messages"][0]["role"] == "user"
    assert served("gemma-3", system_as="system")[0]["messages"][0]["role"] == "system"


def thinking(body: dict[str, Any]) -> Said:
    return f'<think>Hm, {{"answer": "none"}}?</think>\n{note_taker(prompt_of(body))}'


def in_channels(body: dict[str, Any]) -> Said:
    said = note_taker(prompt_of(body))
    return f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>{said}<|return|>"


def beside(body: dict[str, Any]) -> Said:
    message = {"role": "assistant", "content": note_taker(prompt_of(body)), "reasoning_content": "Hm."}
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def without_system_role(body: dict[str, Any]) -> Said:
    if any(turn["role"] == "system" for turn in body["messages"]):
        return Fault(status=400, told="System role not supported")
    return note_taker(prompt_of(body))


def without_temperature(body: dict[str, Any]) -> Said:
    if {"temperature", "max_tokens", "stop"} & set(body):
        return Fault(status=400, told="Unsupported parameter")
    return note_taker(prompt_of(body))


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("llama-3.3-70b", lambda body: note_taker(prompt_of(body))), ("r1-distill-llama-8b", thinking),
        ("gemma-3-27b-it", without_system_role), ("gpt-oss-20b", in_channels), ("gpt-oss-120b", beside),
        ("gpt-5", without_temperature),
    ],
)  # fmt: skip
def test_a_memory_run_has_the_same_results_with_every_family(model: str, answer: Any, tmp_path: Path) -> None:
    """All servers take notes as the scripted note taker does; each replies in its family's form."""

    def run(chosen: LLMConfig, server: ServerConfig) -> tuple[MemoryCell, list[dict[str, Any]]]:
        cell = MemoryCell(
            benchmark="drift", method="llm_as_rnn", streams=2, steps=8, settings=Settings(budget=24),
            model=chosen, server=server,
        )  # fmt: skip
        rows = perform(cell, RunOptions(runs_dir=tmp_path, threads=1))
        same = ("part", "score", "unreadable", "updates_written", "carried_most")
        return cell, [{name: row.get(name) for name in same} for row in rows]

    _, wanted = run(LLMConfig(model="scripted:note_taker"), ServerConfig())
    with ScriptedServer(answer, models=(model,)) as server:
        server.tokenize = lambda body: {"count": count_tokens(body["prompt"])}
        cell, found = run(LLMConfig(model=model, api="chat"), ServerConfig(base_url=server.url, backoff_s=0.01))
    assert found == wanted
    for step in read_log(RunDirectory.of(cell, tmp_path).path / STEPS, cell.hash()):
        assert "Hm" not in step["carried"]
        assert all(count_tokens(version["text"]) <= 24 for version in step["versions"])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>one</think>\n two", "two"), ("thought on</think>two", "two"), ("<think>never done", ""),
        ("<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>final<|message|>two<|return|>", "two"),
        ("<|channel|>final<|message|>two", "two"), ("<|channel|>analysis<|message|>never done", ""),
        ("<|channel|>final<|message|>one<|end|><|start|>assistant<|channel|>final<|message|>two", "two"),
    ],
)  # fmt: skip
def test_reasoning_is_not_part_of_an_answer(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer


@given(st.text())
def test_a_text_without_marks_is_unchanged(text: str) -> None:
    if not any(mark in text for mark in ("<think>", "</think>", "<|channel|>")):
        assert without_reasoning(text) == text


def test_room_to_think_is_added_to_that_of_a_reply_and_changes_the_hash(tmp_path: Path) -> None:
    def cell(thinking: int) -> MemoryCell:
        settings = Settings(budget=24, thinking=thinking)
        return MemoryCell(
            benchmark="drift", method="zero_shot", streams=1, steps=2, settings=settings,
            model=LLMConfig(model="gpt-oss-20b", api="chat"), server=ServerConfig(base_url=server.url),
        )  # fmt: skip

    with ScriptedServer(in_channels, models=("gpt-oss-20b",)) as server:
        server.tokenize = lambda body: {"count": count_tokens(body["prompt"])}
        for room in (0, 500):
            perform(cell(room), RunOptions(runs_dir=tmp_path, threads=1))
        limits = {body["max_tokens"] for body in server.asked if "messages" in body}
    assert limits == {48, 548}
    assert cell(0).hash() != cell(500).hash()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models of each architecture, with the templates above; GPT-2 has none."""
    at = tmp_path_factory.mktemp("families")
    return {
        name: tiny_models.save(name, at / name, TEMPLATES.get(name, ""), CHANNELS if name == "gpt_oss" else ())
        for name in ("llama", "gemma3", "gpt_oss", "gpt2")
    }


def local(folder: Path, **changes: Any) -> LocalBackend:
    api = "completions" if folder.name == "gpt2" else "chat"
    return LocalBackend(LLMConfig(model=str(folder), api=api, **changes), LocalConfig(device="cpu"))


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("llama", "Today Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"),
        ("gemma3", "<s><start_of_turn>user\nBe brief.\n\nWhere?<end_of_turn>"),
        ("gpt_oss", "<|start|>developer<|message|>Be brief.<|end|>"),
        ("gpt2", "Be brief.\n\nWhere?"),
    ],
)
def test_each_architecture_uses_its_template(name: str, begins: str, folders: dict[str, Path]) -> None:
    text = local(folders[name])._text(REQUEST)
    assert begins in text


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt_oss", "gpt2"])
def test_each_architecture_answers_scores_counts_and_knows_its_context(name: str, folders: dict[str, Path]) -> None:
    backend, replies, scores = local(folders[name]), list[Reply](), list[Scored]()
    backend.complete([REQUEST], lambda _, reply: replies.append(reply))
    backend.score([ScoreRequest(prompt="Where?", answers=(" here", " there"))], lambda _, told: scores.append(told))
    assert isinstance(replies[0], Completion)
    assert 0 < replies[0].completion_tokens <= 7
    assert isinstance(scores[0], AnswerScores)
    assert max(scores[0].log_likelihoods) < 0
    assert backend.count_tokens("Where?") > 0
    assert backend.context_limit == tiny_models.POSITIONS
    backend.complete([Request(prompt="where " * 4096, max_tokens=7)], lambda _, reply: replies.append(reply))
    assert isinstance(replies[1], TooLong)


def test_answers_of_a_model_with_channels_are_scored_in_the_final_channel(folders: dict[str, Path]) -> None:
    request = ScoreRequest(prompt="Where?", answers=(" here", " there"), written="It is")
    scores: list[Scored] = []
    own, begun = local(folders["gpt_oss"]), local(folders["gpt_oss"])
    own.score([request], lambda _, told: scores.append(told))
    begun._channels = False
    written = ScoreRequest(prompt="Where?", answers=request.answers, written="<|channel|>final<|message|>It is")
    begun.score([written], lambda _, told: scores.append(told))
    assert scores[0] == scores[1]


def test_reasoning_in_channels_is_removed_from_a_local_models_answer(folders: dict[str, Path]) -> None:
    backend = local(folders["gpt_oss"])
    said = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Here.<|return|>"
    tokens = backend._tokenizer(said, add_special_tokens=False)["input_ids"]
    assert backend._answered(tokens) == "Here."
    assert backend._stops(("Here",), tokens)
    assert not backend._stops(("Hm",), tokens)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt_oss", "gpt2"])
def test_a_memory_run_of_each_architecture_keeps_its_budget(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    cell = MemoryCell(
        benchmark="drift",
        method="llm_as_rnn",
        streams=2,
        steps=3,
        settings=Settings(budget=60, answer="score"),
        model=LLMConfig(model=str(folders[name]), api="completions" if name == "gpt2" else "chat"),
        local=LocalConfig(device="cpu"),
    )
    whole, *_ = perform(cell, RunOptions(runs_dir=tmp_path, threads=1))
    assert (whole["predictions"], whole["unreadable"]) == (6, 0)
    assert whole["carried_most"] <= 60
    assert whole["state_bits"] > 60 * 8


def test_a_chat_with_gpt_2_is_an_error_as_it_has_no_template(folders: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="has no chat template; use --api completions"):
        LocalBackend(LLMConfig(model=str(folders["gpt2"]), api="chat"), LocalConfig(device="cpu"))


def test_requests_of_other_families_have_unchanged_bodies() -> None:
    """Replies cached before there were families are still found: the body is part of their key."""
    body, _ = served("phi-4")
    assert json.loads(json.dumps(body)) == {
        "model": "phi-4", "max_tokens": 7, "temperature": 0, "stop": [],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}],
    }  # fmt: skip
