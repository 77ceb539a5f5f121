"""Accuracy of a trained model: free decoding on held-out problems, with intervals."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval_gap.decoding.decode import UNDECIDED, Decoded, StepModel, decode
from retrieval_gap.decoding.device_retrieval import make_device_retriever
from retrieval_gap.decoding.on_device import DeviceDecoder, ShrinkingDecoder, has_static_state
from retrieval_gap.decoding.retrieval import RetrieverName, make_retriever
from retrieval_gap.machine.devices import CPU, allow_tf32
from retrieval_gap.models import SequenceModel
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.api import PAD, Batch, Task, answers_of, questions_of

DECODE_BATCH = {"cpu": 512, "cuda": 2048}
STATE_BYTES = 2 << 30  # caches grow by doubling, so they take at most twice this
STATE_SHARE = 4  # on a GPU, states get free memory divided by this
# From prompts, their lengths, and the positions of the questions in them.
Decoder = Callable[[NDArray[np.int32], NDArray[np.int32], NDArray[np.intp]], Decoded]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Shares in [0, 1] over the answers of `eval_samples` samples.

    accuracy: right answers, an undecided one counting as a guess among all answers (0.5 for two, as in the paper; 0 for
    open answers); accuracy_strict: an undecided answer counts 0.
    accuracy_low, accuracy_high: 95 % Wilson interval of `accuracy`, with samples as trials (answers of one sample are
    not independent; with several answers per sample the interval errs on the wide side).
    exact_trace: samples with every token as in the gold trace; with open answers, those with its evidence.
    undecided: answers that the token limit cut off.
    tokens_per_s: decoded (not prompt) tokens per second.
    """

    accuracy: float
    accuracy_low: float
    accuracy_high: float
    accuracy_strict: float
    exact_trace: float
    undecided: float
    eval_samples: int
    tokens_per_s: float


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts over the first `samples` samples of a split and their `answers`, after `seconds` of decoding.

    of: number of samples to count in all; 0 if unknown.
    Raises ValueError for counts that contradict each other.
    """

    samples: int = 0
    answers: int = 0
    right: int = 0
    undecided: int = 0
    exact: int = 0
    tokens: int = 0
    seconds: float = 0.0
    of: int = 0

    def __post_init__(self) -> None:
        least = min(self.right, self.undecided, self.exact, self.tokens)
        impossible = self.right + self.undecided > self.answers or self.exact > self.samples
        if least < 0 or impossible or 0 < self.of < self.samples:
            raise ValueError(f"impossible counts: {self}")


def evaluate(
    model: StepModel,
    task: Task,
    samples: int,
    *,
    retriever: RetrieverName | None = None,
    batch: int = DECODE_BATCH["cpu"],
    counted: Tally | None = None,
    on_decoded: Callable[[int, Batch, Decoded, NDArray[np.bool_]], None] = lambda *_: None,
    on_batch: Callable[[Tally], None] = lambda tally: None,
) -> Evaluation:
    """Decode the first `samples` samples of the task's split in batches of `batch`; in `rag` mode, execute searches.

    counted: the last tally that an earlier, stopped call passed to `on_batch`; decoding resumes after its samples.
    on_decoded: called with each batch before it is counted: number of its first sample, gold and decoded traces, which
    answers are right.
    """
    decoder = make_decoder(model, task, retriever, min(batch, samples))
    tally = counted or Tally()
    while tally.samples < samples:
        started = time.perf_counter()
        gold = task.sample(np.arange(tally.samples, min(tally.samples + batch, samples)))
        decoded = decoder(gold.tokens_BxL, gold.prompt_len_B, questions_of(gold, task))
        right_BxQ = right_answers(decoded, gold, task)
        on_decoded(tally.samples, gold, decoded, right_BxQ)
        tally = Tally(
            samples=tally.samples + len(gold.answer_B),
            answers=tally.answers + decoded.answer_BxQ.size,
            right=tally.right + int(right_BxQ.sum()),
            undecided=tally.undecided + int((decoded.answer_BxQ == UNDECIDED).sum()),
            exact=tally.exact + int(_exact(decoded, gold, task).sum()),
            tokens=tally.tokens + int((decoded.length_B - gold.prompt_len_B).sum()),
            seconds=tally.seconds + time.perf_counter() - started,
            of=samples,
        )
        on_batch(tally)
    return _scores(tally, task)


def _scores(tally: Tally, task: Task) -> Evaluation:
    samples, answers = tally.samples, tally.answers
    accuracy = (tally.right + tally.undecided * task.guess) / answers
    low, high = wilson_interval(accuracy, samples)
    return Evaluation(
        accuracy=accuracy,
        accuracy_low=low,
        accuracy_high=high,
        accuracy_strict=tally.right / answers,
        exact_trace=tally.exact / samples,
        undecided=tally.undecided / answers,
        eval_samples=samples,
        tokens_per_s=tally.tokens / tally.seconds,
    )


def make_decoder(model: StepModel, task: Task, retriever: RetrieverName | None, rows: int) -> Decoder:
    """The decoder of a task's prompts, for batches of `rows`.  On a GPU it works in exact float32, however the model
    was trained; it stays on the device where the model's state has fixed shapes and the task has one question and, in
    `rag` mode, a search on the device."""
    answers, max_length, in_rag = task.answers, task.max_length, task.config.mode == "rag"
    if model.device.type == "cuda":
        allow_tf32(False)
        on_device = make_device_retriever(task, retriever) if in_rag else None
        able = task.questions == 1 and (on_device or not in_rag)
        if able and isinstance(model, SequenceModel) and has_static_state(model):
            make = partial(DeviceDecoder, model, answers=answers, max_length=max_length, retriever=on_device)
            shrinking = ShrinkingDecoder(lambda n: make(rows=n), rows)
            return lambda prompts_BxP, prompt_len_B, _: shrinking(prompts_BxP, prompt_len_B)
    on_host = make_retriever(task, retriever) if in_rag else None
    return partial(decode, model, answers=answers, max_length=max_length, retriever=on_host)


def decode_batch(state_bits: int, device: torch.device = CPU) -> int:
    """The batch size for decoding.  state_bits: largest state of one sample; 0 without a state."""
    room = STATE_BYTES
    if device.type == "cuda":
        gc.collect()  # CUDA graphs of training and their owner refer to each other
        torch.cuda.empty_cache()
        room = torch.cuda.mem_get_info(device)[0] // STATE_SHARE
    return max(1, min(DECODE_BATCH[device.type], 8 * room // max(1, state_bits)))


def right_answers(decoded: Decoded, gold: Batch, task: Task) -> NDArray[np.bool_]:
    """Which answers (BxQ) are right: the gold token, or for open answers the gold text."""
    if not task.open_answers:
        return decoded.answer_BxQ == answers_of(gold, task)
    same_B = _same(task.answer_text, decoded, gold)
    return (same_B & (decoded.answer_B != UNDECIDED))[:, None]


def _exact(decoded: Decoded, gold: Batch, task: Task) -> NDArray[np.bool_]:
    return _same(task.evidence, decoded, gold) if task.open_answers else exact_traces(decoded, gold)


def _same(part: Callable[[NDArray[np.int32]], object], decoded: Decoded, gold: Batch) -> NDArray[np.bool_]:
    """Which samples have the same `part` (a function of a trace's tokens) as their gold trace."""
    ours = zip(decoded.tokens_BxL, decoded.length_B, strict=True)
    theirs = zip(gold.tokens_BxL, gold.length_B, strict=True)
    return np.array([part(a_L[:a]) == part(b_L[:b]) for (a_L, a), (b_L, b) in zip(ours, theirs, strict=True)])


def exact_traces(decoded: Decoded, gold: Batch) -> NDArray[np.bool_]:
    """Which decoded samples equal their gold traces token for token."""
    return departures(decoded, gold) < 0


def departures(decoded: Decoded, gold: Batch) -> NDArray[np.int64]:
    """The first position at which each sample differs from its gold trace; -1 if there is none."""
    width = max(decoded.tokens_BxL.shape[1], gold.tokens_BxL.shape[1])
    ours_BxL, theirs_BxL = (
        np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])), constant_values=PAD)
        for tokens in (decoded.tokens_BxL, gold.tokens_BxL)
    )
    ends_B = np.minimum(decoded.length_B, gold.length_B)
    beyond_BxL = (np.arange(width) >= ends_B[:, None]) & (decoded.length_B != gold.length_B)[:, None]
    differs_BxL = (ours_BxL != theirs_BxL) | beyond_BxL
    return np.where(differs_BxL.any(1), differs_BxL.argmax(1), -1)
