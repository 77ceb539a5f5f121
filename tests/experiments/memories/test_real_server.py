"""Memory runs on a real server, llama.cpp with SmolLM2 (`make test-server`), keep the budget, can be read, and repeat
no request.  What a small model notes or predicts is never asserted."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.llm.cache import REPLIES
from retrieval_gap.llm.config import LLMConfig, ServerConfig
from retrieval_gap.llm.packaged import MODELS
from retrieval_gap.llm.server import ServerBackend
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory.settings import Settings
from tests.llm.real_server import FOLDER, IS_THERE, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not IS_THERE, reason="xllamacpp is not in .models/server")]
MODEL = LLMConfig(model=str(FOLDER / MODELS["SmolLM2-135M-Instruct"].weights), name="SmolLM2")
BUDGET = 24


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


def cell(url: str, method: str, **settings: Any) -> MemoryCell:
    return MemoryCell(
        benchmark="recall",
        method=method,
        options="facts=3 values=4",
        streams=2,
        steps=0,
        settings=Settings(budget=BUDGET, **settings),
        model=MODEL,
        server=ServerConfig(base_url=url, concurrency=1, structured="llama.cpp"),
    )


@pytest.mark.parametrize("update", ["rewrite", "edits"])
def test_no_memory_is_over_the_budget_by_the_servers_count_and_no_request_is_repeated(
    update: str, url: str, tmp_path: Path
) -> None:
    chosen = cell(url, "llm_as_rnn", update=update, answer="score")
    whole, *_ = perform(chosen, RunOptions(runs_dir=tmp_path, threads=1))
    assert (whole["predictions"], whole["unreadable"]) == (6, 0)
    assert whole["state_bits"] == pytest.approx(BUDGET * 15.585, rel=1e-3)  # 49,152 tokens
    assert sum(whole[name] for name in whole if name.startswith("updates_")) == 6
    server = ServerBackend(MODEL, chosen.server)
    for step in read_log(RunDirectory.of(chosen, tmp_path).path / STEPS, chosen.hash()):
        assert server.count_tokens(step["carried"]) == step["carried_tokens"] <= BUDGET
        assert all(server.count_tokens(version["text"]) <= BUDGET for version in step["versions"])

    def replies() -> int:
        with sqlite3.connect(tmp_path / REPLIES) as cache:
            return int(cache.execute("SELECT COUNT(*) FROM replies").fetchone()[0])

    before = replies()
    RunDirectory.of(chosen, tmp_path).result.unlink()
    again, *_ = perform(chosen, RunOptions(runs_dir=tmp_path, threads=1))
    assert replies() == before
    assert again | {"wall_s": 0} == whole | {"wall_s": 0}


def test_with_a_schema_every_answer_of_a_chat_can_be_read(url: str, tmp_path: Path) -> None:
    chosen = replace(cell(url, "oracle_memory", answer="grammar"), model=replace(MODEL, api="chat"))
    whole, *_ = perform(chosen, RunOptions(runs_dir=tmp_path, threads=1))
    assert (whole["predictions"], whole["unreadable"]) == (6, 0)
    assert whole["written"] > 0
