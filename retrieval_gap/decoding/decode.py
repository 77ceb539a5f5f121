"""Batched greedy decoding with cached state, and retrieval in the loop.

Axes: B samples, L positions (the token limit), R rows still being decoded, V vocabulary, Q questions per sample.

All rows are at the same position.  A *given* token (from a prompt, a retriever's answer or a later question) is
written into the buffer ahead of the position; every other token is the model's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval_gap.decoding.retrieval import Retriever
from retrieval_gap.models.mixer import State, select_rows
from retrieval_gap.tasks.api import ENDSEARCH, PAD

UNDECIDED = -1
# Finished rows are dropped once they are this share of the batch, since dropping copies the state.
RETIRE_SHARE = 0.125


@runtime_checkable
class StepModel(Protocol):
    """What decoding needs of a model (a `SequenceModel`, or any class with these members)."""

    @property
    def device(self) -> torch.device: ...

    def prefill(self, tokens_BxL: Tensor) -> tuple[Tensor, State]: ...

    def step(self, token_B: Tensor, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Decoded:
    """tokens_BxL: given, written and retrieved tokens in order, then `PAD`.
    length_B: tokens per sample; answer_BxQ: its answer tokens in order, UNDECIDED where the token limit came first.
    """

    tokens_BxL: NDArray[np.int32]
    length_B: NDArray[np.int32]
    answer_BxQ: NDArray[np.int32]

    @property
    def answer_B(self) -> NDArray[np.int32]:  # noqa: N802
        """The last answer of each sample."""
        return self.answer_BxQ[:, -1]


def undecided(
    prompts_BxP: NDArray[np.int32], prompt_len_B: NDArray[np.int32], max_length: int, questions: int = 1
) -> Decoded:
    """The prompts alone, unanswered.  Raises ValueError for a prompt that is empty or leaves no room."""
    if len(prompt_len_B) == 0 or prompt_len_B.min() < 1 or prompt_len_B.max() >= max_length:
        raise ValueError(f"expected one or more prompts of 1 to {max_length - 1} tokens")
    batch = len(prompt_len_B)
    tokens_BxL = np.full((batch, max_length), PAD, np.int32)
    is_prompt_BxL = np.arange(max_length) < prompt_len_B[:, None]
    tokens_BxL[is_prompt_BxL] = prompts_BxP[:, :max_length][is_prompt_BxL[:, : prompts_BxP.shape[1]]]
    length_B, answer_BxQ = np.full(batch, max_length, np.int32), np.full((batch, questions), UNDECIDED, np.int32)
    return Decoded(tokens_BxL, length_B, answer_BxQ)


@torch.inference_mode()
def decode(
    model: StepModel,
    prompts_BxP: NDArray[np.int32],
    prompt_len_B: NDArray[np.int32],
    question_BxQx2: NDArray[np.intp] | None = None,
    *,
    answers: tuple[int, ...],
    max_length: int,
    retriever: Retriever | None = None,
) -> Decoded:
    """Decode each prompt until the model has written its last answer (one of `answers`), or up to `max_length` tokens.

    With a retriever, each `[ENDSEARCH]` that the model writes is answered from that sample's own context.
    question_BxQx2: position of each question in `prompts_BxP` (first position, past the last).  The first question is
    the prompt; each answer but the last is followed by the next question.
    Raises ValueError for a prompt that is empty or leaves no room.
    """
    batch = len(prompt_len_B)
    if question_BxQx2 is None:
        question_BxQx2 = np.zeros((batch, 1, 2), np.intp)
    done = undecided(prompts_BxP, prompt_len_B, max_length, question_BxQx2.shape[1])
    device = model.device
    answer_set = np.asarray(answers)

    row_R = np.arange(batch)
    given_until_R = prompt_len_B.astype(np.int64)
    tokens_RxL = done.tokens_BxL.copy()
    active_R = np.ones(batch, bool)
    start = int(prompt_len_B.min())
    logits_RxV, state = model.prefill(_to(tokens_RxL[:, :start], device))

    for t in range(start, max_length):
        written_R = t >= given_until_R
        next_R = np.where(written_R, logits_RxV.argmax(-1).cpu().numpy(), tokens_RxL[:, t]).astype(np.int32)
        tokens_RxL[:, t] = next_R

        decided = np.flatnonzero(active_R & written_R & np.isin(next_R, answer_set))
        if len(decided):
            answered_D = _record_answers(done, row_R[decided], tokens_RxL[decided, : t + 1])
            active_R[decided[answered_D == done.answer_BxQ.shape[1]]] = False
            for d, stretch_N in _next_questions(prompts_BxP, question_BxQx2, row_R[decided], answered_D):
                given_until_R[decided[d]] = _give(tokens_RxL[decided[d]], t + 1, stretch_N)
        if not active_R.any() or t + 1 == max_length:
            break

        if retriever is not None and len(asking := np.flatnonzero(active_R & written_R & (next_R == ENDSEARCH))):
            given_until_R[asking] = _append_results(retriever, tokens_RxL, asking, t + 1)

        if (~active_R).mean() >= RETIRE_SHARE:
            keep = np.flatnonzero(active_R)
            state = select_rows(state, _to(keep, device))
            row_R, given_until_R, tokens_RxL = row_R[keep], given_until_R[keep], tokens_RxL[keep]
            next_R, active_R = next_R[keep], np.ones(len(keep), bool)
        logits_RxV, state = model.step(_to(next_R, device), state)

    rows = row_R[active_R]
    done.tokens_BxL[rows] = tokens_RxL[active_R]
    return done


def _record_answers(done: Decoded, rows_D: NDArray[np.intp], tokens_DxT: NDArray[np.int32]) -> NDArray[np.intp]:
    """Record each sample's newest answer, and the tokens of fully answered samples; return their numbers of answers."""
    answered_D = (done.answer_BxQ[rows_D] != UNDECIDED).sum(1)
    done.answer_BxQ[rows_D, answered_D] = tokens_DxT[:, -1]
    ended, length = answered_D + 1 == done.answer_BxQ.shape[1], tokens_DxT.shape[1]
    done.tokens_BxL[rows_D[ended], :length] = tokens_DxT[ended]
    done.length_B[rows_D[ended]] = length
    return answered_D + 1


def _next_questions(
    prompts_BxP: NDArray[np.int32],
    question_BxQx2: NDArray[np.intp],
    rows_D: NDArray[np.intp],
    answered_D: NDArray[np.intp],
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """For each next question that has tokens: its sample's place in `rows_D`, and the tokens."""
    for d in np.flatnonzero(answered_D < question_BxQx2.shape[1]):
        first, stop = question_BxQx2[rows_D[d], answered_D[d]]
        if first < stop:
            yield int(d), prompts_BxP[rows_D[d], first:stop]


def _give(tokens_L: NDArray[np.int32], position: int, given_N: NDArray[np.int32]) -> int:
    """Write a question from `position` on, cut off at the token limit; return its end."""
    given_N = given_N[: len(tokens_L) - position]
    tokens_L[position : position + len(given_N)] = given_N
    return position + len(given_N)


def _append_results(
    retriever: Retriever, tokens_RxL: NDArray[np.int32], asking: NDArray[np.intp], position: int
) -> NDArray[np.int64]:
    """Write the results of the searches that end before `position`; return each result's end."""
    results_AxR = retriever(tokens_RxL[asking, :position], np.full(len(asking), position, np.int32))
    results_AxR = results_AxR[:, : tokens_RxL.shape[1] - position]
    tokens_RxL[asking, position : position + results_AxR.shape[1]] = results_AxR
    return position + (results_AxR != PAD).sum(1)


def _to(array: NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
