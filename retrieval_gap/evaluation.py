"""How good a trained model is: free decoding on held-out problems, with intervals."""

import math
import time
from dataclasses import dataclass

import numpy as np

from retrieval_gap.decoding import UNDECIDED, Decoded, StepModel, decode
from retrieval_gap.retrieval import RetrieverName, make_retriever
from tasks.api import Batch, Task, answers_of, questions_of

Z_95 = 1.959963984540054
DECODE_BATCH = 512
STATE_BYTES = 2 << 30  # caches grow by doubling: the most they take is twice this


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Shares in [0, 1] over the answers of `eval_samples` samples.

    accuracy: right answers, an undecided one counting as a guess among all that there are (0.5 where there are two, as
    in the paper); accuracy_strict: counting 0.
    accuracy_low, accuracy_high: 95 % Wilson interval of `accuracy`, with samples as trials (answers of one sample are
    not independent of each other; where there are several the interval is rather wide than narrow).
    exact_trace: every token as in the gold trace.  tokens_per_s: decoded (not prompt) tokens a second.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_strict: float
    exact_trace: float
    undecided: float
    eval_samples: int
    tokens_per_s: float


def evaluate(
    model: StepModel,
    task: Task,
    samples: int,
    *,
    retriever: RetrieverName | None = None,
    batch: int = DECODE_BATCH,
) -> Evaluation:
    """Decodes the first `samples` samples of the task's split, `batch` at once.  In rag retrieval is executed."""
    search = make_retriever(task, retriever) if task.config.mode == "rag" else None
    right = undecided = exact = tokens = 0
    started = time.perf_counter()
    for first in range(0, samples, batch):
        gold = task.sample(np.arange(first, min(first + batch, samples)))
        decoded = decode(
            model,
            gold.tokens_BxL,
            gold.prompt_len_B,
            answers=task.answers,
            max_length=task.max_length,
            retriever=search,
            question_BxQx2=questions_of(gold, task),
        )
        right += int((decoded.answer_BxQ == answers_of(gold, task)).sum())
        undecided += int((decoded.answer_BxQ == UNDECIDED).sum())
        exact += int(exact_traces(decoded, gold).sum())
        tokens += int((decoded.length_B - gold.prompt_len_B).sum())
    answers = samples * task.questions
    accuracy = (right + undecided / len(task.answers)) / answers
    low, high = wilson_interval(accuracy, samples)
    return Evaluation(
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        accuracy_strict=right / answers,
        exact_trace=exact / samples,
        undecided=undecided / answers,
        eval_samples=samples,
        tokens_per_s=tokens / (time.perf_counter() - started),
    )


def decode_batch(state_bits: int) -> int:
    """How many samples to decode at once, where each may come to carry this many bits."""
    return max(1, min(DECODE_BATCH, 8 * STATE_BYTES // state_bits))


def exact_traces(decoded: Decoded, gold: Batch) -> np.ndarray:
    """Which samples were decoded token for token as the gold trace."""
    width = max(decoded.tokens_BxL.shape[1], gold.tokens_BxL.shape[1])
    ours, theirs = (
        np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])))  # PAD is 0
        for tokens in (decoded.tokens_BxL, gold.tokens_BxL)
    )
    return (decoded.length_B == gold.length_B) & (ours == theirs).all(1)


def wilson_interval(share: float, samples: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927)."""
    z2 = Z_95**2 / samples
    centre = (share + z2 / 2) / (1 + z2)
    half = Z_95 / (1 + z2) * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples))
    return max(0.0, centre - half), min(1.0, centre + half)
