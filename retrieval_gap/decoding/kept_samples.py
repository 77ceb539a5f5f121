"""A few decoded samples that a run keeps, to read what its model wrote without its weights.

They are from the first batch of the evaluation: the first `KEPT` samples, then the first `KEPT` others that differ from
the gold trace.  They are illustrations; accuracies are over all samples.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval_gap.decoding.decode import Decoded
from retrieval_gap.decoding.evaluation import departures
from retrieval_gap.decoding.retrieval import Retriever, make_retriever
from retrieval_gap.machine.files import write_text
from retrieval_gap.tasks.api import ENDSEARCH, PAD, Batch, Task, questions_of

KEPT = 4
LONGEST = 4_096  # tokens kept of a prompt and of what follows it; the rest is left out
MODEL, RETRIEVER, GIVEN = "m", "r", "g"  # who wrote a token: the model, the retriever, the task (a later question)


def write_samples(path: Path, task: Task, gold: Batch, decoded: Decoded, right_BxQ: NDArray[np.bool_]) -> None:
    """Replace a file of one JSON object per line.

    Fields: `index` in the split; `prompt`, `written` and `gold` (the trace to write), lists of token spellings; `by`, a
    letter for the author of each token in `written` (see above); `departs`, the first place where `written` differs
    from `gold`, or null; `right`, whether all answers are right; `left_out`, numbers of tokens past `LONGEST` in
    prompt, written and gold.
    """
    departs_B = departures(decoded, gold)
    retriever = make_retriever(task) if task.config.mode == "rag" else None
    records = (_record(int(b), task, gold, decoded, departs_B, retriever) for b in _chosen(departs_B))
    lines = [json.dumps(record | {"right": bool(right_BxQ[record["index"]].all())}) + "\n" for record in records]
    write_text(path, "".join(lines))


def authors(
    tokens_L: NDArray[np.int32], prompt_len: int, given: Iterator[int], task: Task, retriever: Retriever | None
) -> str:
    """The author of each token after the prompt, by decoding's rules: results follow a search, questions an answer.

    given: number of tokens of each later question.
    """
    by = ""
    while (t := prompt_len + len(by)) < len(tokens_L):
        by += MODEL
        if tokens_L[t] in task.answers:
            by += GIVEN * next(given, 0)
        elif tokens_L[t] == ENDSEARCH and retriever is not None:
            result_1xR = retriever(tokens_L[None, : t + 1], np.array([t + 1], np.int32))
            by += RETRIEVER * int((result_1xR != PAD).sum())
    return by[: len(tokens_L) - prompt_len]


def _chosen(departs_B: NDArray[np.int64]) -> list[int]:
    first = list(range(min(KEPT, len(departs_B))))
    return first + [int(b) for b in np.flatnonzero(departs_B >= 0) if b >= len(first)][:KEPT]


def _record(
    b: int, task: Task, gold: Batch, decoded: Decoded, departs_B: NDArray[np.int64], retriever: Retriever | None
) -> dict[str, Any]:
    prompt, words = int(gold.prompt_len_B[b]), task.vocabulary
    ours_L = decoded.tokens_BxL[b, : decoded.length_B[b]]
    theirs_L = gold.tokens_BxL[b, : gold.length_B[b]]
    given = (int(stop - first) for first, stop in questions_of(gold, task)[b, 1:])
    by = authors(ours_L, prompt, given, task, retriever)
    parts = {"prompt": ours_L[:prompt], "written": ours_L[prompt:], "gold": theirs_L[prompt:]}
    spelled = {name: [words[token] for token in tokens[:LONGEST]] for name, tokens in parts.items()}
    return {
        "index": b,
        **spelled,
        "by": by[:LONGEST],
        "departs": None if departs_B[b] < 0 else int(departs_B[b]) - prompt,
        "left_out": [max(0, len(tokens) - LONGEST) for tokens in parts.values()],
    }
