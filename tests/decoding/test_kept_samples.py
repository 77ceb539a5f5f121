"""The decoded samples that a run keeps show the prompt, who wrote which token, and where the model went wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval_gap.decoding.decode import Decoded
from retrieval_gap.decoding.evaluation import departures, exact_traces
from retrieval_gap.decoding.kept_samples import KEPT, write_samples
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.tasks.api import Batch, Mode, Task, TaskConfig, answers_of
from retrieval_gap.tasks.registry import load_task
from tests.training.runs import execute
from tests.training.test_loop import CONFIG


def task_of(name: str = "istree", mode: Mode = "rag", n: int = 8) -> Task:
    return load_task(name)(TaskConfig(n=n, mode=mode, split="test"))


def as_gold(gold: Batch, task: Task) -> Decoded:
    """What a model without errors decodes."""
    return Decoded(gold.tokens_BxL.copy(), gold.length_B.copy(), answers_of(gold, task).copy())


def kept(path: Path, task: Task, gold: Batch, decoded: Decoded) -> list[dict[str, Any]]:
    write_samples(path, task, gold, decoded, decoded.answer_BxQ == answers_of(gold, task))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("istree", "direct"), ("istree", "cot"), ("istree", "rag"), ("index", "rag"), ("mqar", "direct"), ("mqar", "rag")],
)
def test_the_models_own_tokens_are_those_that_are_graded(name: str, mode: Mode, tmp_path: Path) -> None:
    task = task_of(name, mode, n=64 if name == "mqar" else 8)
    gold = task.sample(np.arange(20))
    records = kept(tmp_path / "samples.jsonl", task, gold, as_gold(gold, task))
    assert len(records) == KEPT
    for b, record in enumerate(records):
        prompt, length = gold.prompt_len_B[b], gold.length_B[b]
        assert [letter == "m" for letter in record["by"]] == gold.loss_mask_BxL[b, prompt:length].tolist()
        assert record["written"] == record["gold"] == [task.vocabulary[t] for t in gold.tokens_BxL[b, prompt:length]]
        assert (record["departs"], record["right"], record["index"]) == (None, True, b)


def test_samples_that_depart_from_the_gold_trace_are_kept_with_the_place(tmp_path: Path) -> None:
    task = task_of(mode="cot")
    gold = task.sample(np.arange(20))
    decoded = as_gold(gold, task)
    for b in range(7, 20):
        decoded.tokens_BxL[b, gold.prompt_len_B[b] + 2] += 1
    records = kept(tmp_path / "samples.jsonl", task, gold, decoded)
    assert [record["index"] for record in records] == [0, 1, 2, 3, 7, 8, 9, 10]
    assert [record["departs"] for record in records] == [None] * 4 + [2] * 4


def test_a_trace_departs_if_and_only_if_it_is_not_exact() -> None:
    task = task_of(mode="cot")
    gold = task.sample(np.arange(4))
    decoded = as_gold(gold, task)
    decoded.length_B[1] -= 1  # stopped before its answer
    decoded.tokens_BxL[1, decoded.length_B[1]] = 0
    decoded.tokens_BxL[2, gold.length_B[2] - 1] ^= 7  # the other answer
    exact_B = exact_traces(decoded, gold)
    assert exact_B.tolist() == (departures(decoded, gold) < 0).tolist() == [True, False, False, True]
    assert departures(decoded, gold)[1:3].tolist() == [gold.length_B[1] - 1, gold.length_B[2] - 1]


def test_a_sample_past_the_limit_is_cut_and_says_how_much_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval_gap.decoding.kept_samples.LONGEST", 10)
    task = task_of(mode="cot")
    gold = task.sample(np.arange(1))
    (record,) = kept(tmp_path / "samples.jsonl", task, gold, as_gold(gold, task))
    lengths = [len(record[part]) for part in ("prompt", "written", "gold")]
    written = int(gold.length_B[0] - gold.prompt_len_B[0])
    assert lengths == [10, min(10, written), min(10, written)]
    assert record["left_out"] == [gold.prompt_len_B[0] - 10, max(0, written - 10), max(0, written - 10)]


def test_a_run_keeps_the_samples_that_it_decoded_first(tmp_path: Path) -> None:
    assert execute(CONFIG, tmp_path)["exact_trace"] < 1
    run = RunDirectory.of(CONFIG, tmp_path)
    records = [json.loads(line) for line in run.samples.read_text().splitlines()]
    task = CONFIG.build_task("test")
    gold = task.sample(np.arange(4))
    assert [record["index"] for record in records[:4]] == [0, 1, 2, 3]
    for b, record in enumerate(records[:4]):
        assert record["prompt"] == [task.vocabulary[t] for t in gold.tokens_BxL[b, : gold.prompt_len_B[b]]]
    assert any(record["departs"] is not None for record in records)
