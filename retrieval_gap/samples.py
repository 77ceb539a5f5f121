"""What `retrieval-gap sample` prints: the traces of a task, as text or as JSON lines."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from tasks.api import FALSE, TRUE, Task, answers_of

CHUNK = 256


def sample_records(task: Task, first: int, count: int) -> Iterator[dict[str, Any]]:
    """One object a sample: prompt, target, loss_mask (0/1 over target), answer, family, split, index; for graphs
    also `edges`, in input order.  Several answers stand in one text, with spaces between."""
    words = task.vocabulary
    for start in range(first, first + count, CHUNK):
        index_B = np.arange(start, min(start + CHUNK, first + count))
        batch = task.sample(index_B)
        answer_BxQ = answers_of(batch, task)
        for b, index in enumerate(index_B):
            prompt, length = int(batch.prompt_len_B[b]), int(batch.length_B[b])
            tokens_L = batch.tokens_BxL[b]
            record: dict[str, Any] = {
                "prompt": [words[t] for t in tokens_L[:prompt]],
                "target": [words[t] for t in tokens_L[prompt:length]],
                "loss_mask": batch.loss_mask_BxL[b, prompt:length].astype(int).tolist(),
                "answer": " ".join(_answer(task, int(token)) for token in answer_BxQ[b]),
            }
            if hasattr(task, "edges"):
                record["edges"] = task.edges(tokens_L)
            yield record | {"family": task.family, "split": task.config.split, "index": int(index)}


def print_samples(task: Task, first: int, count: int, form: Literal["text", "jsonl"]) -> None:
    """`text`: the whole trace, one line a sample, as the authors' release writes it; `jsonl`: one object a line."""
    for record in sample_records(task, first, count):
        print(json.dumps(record) if form == "jsonl" else " ".join(record["prompt"] + record["target"]))


def _answer(task: Task, token: int) -> str:
    return {TRUE: "TRUE", FALSE: "FALSE"}.get(token, task.vocabulary[token])
