"""What `retrieval-gap sample` prints: the traces of a task, as text or as JSON lines."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.tasks.api import FALSE, TRUE, Task, answers_of

CHUNK = 256


def sample_records(task: Task, first: int, count: int) -> Iterator[dict[str, Any]]:
    """One object per sample: prompt, target, loss_mask (0/1 over target), answer, family, split, index, and what the
    task adds about its problem, such as the `edges` of a graph.  Several answers are one text, separated by spaces."""
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
                "answer": _answer(task, tokens_L[:length], answer_BxQ[b].tolist()),
            }
            record |= task.described(tokens_L[:length], int(index))
            yield record | {"family": task.family, "split": task.config.split, "index": int(index)}


def print_samples(task: Task, first: int, count: int, form: Literal["text", "jsonl"]) -> None:
    """Print samples; `text`: one whole trace per line, as in the authors' release; `jsonl`: one object per line."""
    for record in sample_records(task, first, count):
        print(json.dumps(record) if form == "jsonl" else " ".join(record["prompt"] + record["target"]))


def _answer(task: Task, tokens_L: NDArray[np.int32], answers: list[int]) -> str:
    if task.open_answers:
        return task.answer_text(tokens_L)
    named = {TRUE: "TRUE", FALSE: "FALSE"}
    return " ".join(named.get(token, task.vocabulary[token]) for token in answers)
