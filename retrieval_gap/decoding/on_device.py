"""Greedy decoding that stays on a device: the same answers as `decoding.decode`, but the host reads no token.

Axes: R rows, L positions (the token limit, and one more), P positions of the longest prompt, V vocabulary, A answers.

One CUDA graph, replayed for every position, chooses a token, checks for an answer, searches, and feeds the token to
the model; the host checks every CHECK_EVERY positions which rows are done.  A graph has one shape, so finished rows are
dropped in eighths of the batch and attention reads the cache in eighths of its length, with a graph for each pair used.

`decoding.decode` remains for the CPU, where reading a token costs nothing, rows are dropped as they end, attention
reads only what the cache holds and only rows that search are searched; and on a GPU for cases not supported here.
"""

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval_gap.decoding.decode import UNDECIDED, Decoded, undecided
from retrieval_gap.decoding.device_retrieval import DeviceRetriever
from retrieval_gap.machine.cuda_graphs import Replay, graph_pool
from retrieval_gap.machine.devices import memory_message
from retrieval_gap.machine.errors import RunError
from retrieval_gap.models import SequenceModel
from retrieval_gap.models.mixer import State, narrow_state, state_tensors, write_state
from retrieval_gap.tasks.api import ENDSEARCH, PAD

CHECK_EVERY = 32
PARTS = 8
ALIGNMENT = 16  # positions: parts of the cache are multiples of it, for the attention kernels
PREFILL_TOKENS = 1 << 16  # prefill reads the prompts in parts of about this many tokens, to bound its memory
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """The decoding state of each row; length_R and answer_R are as in `Decoded`.

    The last column of the tokens takes a result past the limit.  given_until_R: end of the given tokens.
    """

    tokens_RxL: Tensor
    given_until_R: Tensor
    active_R: Tensor
    length_R: Tensor
    answer_R: Tensor
    logits_RxV: Tensor

    @classmethod
    def zeros(cls, rows: int, columns: int, embedding_VxD: Tensor) -> "_Rows":
        def made(kind: torch.dtype, *shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=kind, device=embedding_VxD.device)

        return cls(
            tokens_RxL=made(torch.int32, columns),
            given_until_R=made(torch.int64),
            active_R=made(torch.bool),
            length_R=made(torch.int64),
            answer_R=made(torch.int32),
            logits_RxV=made(embedding_VxD.dtype, len(embedding_VxD)),
        )

    def tensors(self) -> list[Tensor]:
        return list(vars(self).values())

    def first(self, rows: int) -> "_Rows":
        return _Rows(*(tensor[:rows] for tensor in self.tensors()))


class DeviceDecoder:
    """Decoder of batches of up to `rows` samples, in storage that is allocated once.

    Raises TypeError or AttributeError for a model without a static state.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: SequenceModel,
        *,
        rows: int,
        answers: Sequence[int],
        max_length: int,
        retriever: DeviceRetriever | None = None,
    ) -> None:
        device = model.device
        self._model, self._retriever, self._max_length = model, retriever, max_length
        self._part = -(-rows // PARTS)
        self._stretch = -(-max_length // (PARTS * ALIGNMENT)) * ALIGNMENT
        self._answers_A = torch.tensor(list(answers), dtype=torch.int32, device=device)
        self._position = torch.zeros((), dtype=torch.int64, device=device)
        rows = self._part * PARTS
        self._rows = _Rows.zeros(rows, max_length + 1, model.embedding.weight)
        self._state = model.static_state(rows, self._stretch * PARTS, self._position)
        whole, part = (narrow_state(self._state, rows, self._stretch * parts) for parts in (PARTS, 1))
        pairs = zip(state_tensors(whole), state_tensors(part), strict=True)
        self._has_cache = any(all_of.shape != some.shape for all_of, some in pairs)
        self._replays: dict[tuple[int, int], Replay] = {}
        self._pool = graph_pool(device)

    @torch.inference_mode()
    def __call__(self, prompts_BxP: NDArray[np.int32], prompt_len_B: NDArray[np.int32]) -> Decoded:
        """Raises ValueError for a prompt that is empty or leaves no room."""
        done = undecided(prompts_BxP, prompt_len_B, self._max_length)
        start = int(prompt_len_B.min())
        self._load(done.tokens_BxL, prompt_len_B, start)
        row_R = np.arange(len(prompt_len_B))
        for position in range(start, self._max_length):
            if (position - start) % CHECK_EVERY == 0:
                row_R = self._drop_finished(done, row_R)
                if not len(row_R):
                    break
            self._replay(self._size(len(row_R)), self._capacity(position + 1))()
        self._collect(done, row_R, np.arange(len(row_R)))
        return done

    def _size(self, rows: int) -> int:
        """Rows of the smallest graph that holds `rows` rows."""
        return -(-rows // self._part) * self._part

    def _capacity(self, tokens: int) -> int:
        """Length of the smallest part of the cache that holds `tokens` tokens; the full length without a cache."""
        parts = -(-tokens // self._stretch) if self._has_cache else PARTS
        return parts * self._stretch

    def _load(self, tokens_BxL: NDArray[np.int32], prompt_len_B: NDArray[np.int32], start: int) -> None:
        batch, rows = len(tokens_BxL), self._rows
        rows.tokens_RxL[:batch, :-1] = torch.from_numpy(tokens_BxL).to(self._model.device)
        rows.given_until_R[:batch] = torch.from_numpy(prompt_len_B).to(self._model.device)
        rows.active_R.fill_(False)[:batch] = True
        rows.length_R.fill_(self._max_length)
        rows.answer_R.fill_(UNDECIDED)
        self._position.fill_(start)
        at_once = max(1, PREFILL_TOKENS // start)
        for first in range(0, batch, at_once):
            part = slice(first, min(first + at_once, batch))
            logits_RxV, state = self._model.prefill(rows.tokens_RxL[part, :start])
            rows.logits_RxV[part] = logits_RxV
            write_state(self._state, state, first)

    def _replay(self, rows: int, capacity: int) -> Replay:
        """The step for the first `rows` rows and the first `capacity` positions of the cache."""
        if (rows, capacity) not in self._replays:
            views, state = self._rows.first(rows), narrow_state(self._state, rows, capacity)
            self._replays[rows, capacity] = Replay(lambda: self._advance(views, state), self._model.device, self._pool)
        return self._replays[rows, capacity]

    def _advance(self, rows: _Rows, state: State) -> None:
        """Write the token at the current position, check for an answer, search, and feed the token to the model."""
        here = self._position
        given_R = rows.tokens_RxL.index_select(1, here[None])[:, 0]
        written_R = here >= rows.given_until_R
        token_R = torch.where(written_R, rows.logits_RxV.argmax(-1).int(), given_R)
        rows.tokens_RxL.index_copy_(1, here[None], token_R[:, None])

        decided_R = rows.active_R & written_R & (token_R[:, None] == self._answers_A).any(1)
        rows.answer_R.copy_(torch.where(decided_R, token_R, rows.answer_R))
        rows.length_R.copy_(torch.where(decided_R, here + 1, rows.length_R))
        rows.active_R.logical_and_(~decided_R)
        if self._retriever is not None:
            asking_R = rows.active_R & written_R & (token_R == ENDSEARCH)
            next_1 = (here + 1)[None]
            given_R = rows.tokens_RxL.index_select(1, next_1)[:, 0]
            result_R = torch.where(asking_R, self._retriever(rows.tokens_RxL, here + 1), given_R)
            rows.tokens_RxL.index_copy_(1, next_1, result_R[:, None])
            rows.given_until_R.copy_(torch.where(asking_R, here + 2, rows.given_until_R))

        logits_RxV, after = self._model.step(token_R, state)
        rows.logits_RxV.copy_(logits_RxV)
        write_state(state, after)
        self._position += 1

    def _drop_finished(self, done: Decoded, row_R: NDArray[np.intp]) -> NDArray[np.intp]:
        """Drop finished rows; return the samples in the rows that remain.  Drops none unless a smaller graph holds the
        unfinished rows."""
        active_R = self._rows.active_R[: len(row_R)].cpu().numpy()
        if self._size(int(active_R.sum())) == self._size(len(row_R)):
            return row_R
        keep_R = np.flatnonzero(active_R)
        self._collect(done, row_R[~active_R], np.flatnonzero(~active_R))
        kept_R = torch.from_numpy(keep_R).to(self._model.device)
        for storage in (*self._rows.tensors(), *state_tensors(self._state)):
            storage[: len(keep_R)] = storage.index_select(0, kept_R)
        return row_R[keep_R]

    def _collect(self, done: Decoded, samples: NDArray[np.intp], rows_R: NDArray[np.intp]) -> None:
        """Copy the tokens, lengths and answers of `rows_R` to the host as the results of `samples`."""
        which_R = torch.from_numpy(rows_R).to(self._model.device)
        tokens_RxL, length_R, answer_R = (
            tensor.index_select(0, which_R).cpu().numpy()
            for tensor in (self._rows.tokens_RxL, self._rows.length_R, self._rows.answer_R)
        )
        within_RxL = np.arange(self._max_length) < length_R[:, None]
        done.tokens_BxL[samples] = np.where(within_RxL, tokens_RxL[:, :-1], PAD)
        done.length_B[samples], done.answer_BxQ[samples, 0] = length_R, answer_R


class ShrinkingDecoder:
    """A `DeviceDecoder` that halves its rows when it runs out of memory, with the same result.

    make: builds a decoder for a number of rows.
    """

    def __init__(self, make: Callable[[int], DeviceDecoder], rows: int) -> None:
        self._make, self._at_once = make, rows
        self._decoder: DeviceDecoder | None = None

    def __call__(self, prompts_BxP: NDArray[np.int32], prompt_len_B: NDArray[np.int32]) -> Decoded:
        """Raises RunError if there is not enough memory for a single row, ValueError as `DeviceDecoder` does."""
        while True:
            try:
                return self._decoded(prompts_BxP, prompt_len_B)
            except torch.OutOfMemoryError as error:
                shortage = " ".join(str(error).split())
            self._halve(shortage)  # outside the handler, whose traceback keeps tensors alive

    def _decoded(self, prompts_BxP: NDArray[np.int32], prompt_len_B: NDArray[np.int32]) -> Decoded:
        if self._decoder is None:
            self._decoder = self._make(self._at_once)
        parts = [
            self._decoder(prompts_BxP[first : first + self._at_once], prompt_len_B[first : first + self._at_once])
            for first in range(0, max(1, len(prompt_len_B)), self._at_once)
        ]
        return Decoded(*(np.concatenate(arrays) for arrays in zip(*(vars(p).values() for p in parts), strict=True)))

    def _halve(self, shortage: str) -> None:
        self._decoder = None
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            gc.collect()  # a decoder and its graphs refer to each other
            torch.cuda.empty_cache()
        if self._at_once == 1:
            told = memory_message(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            raise RunError(f"there is not enough memory to decode one sample at a time: {shortage} {told}".rstrip())
        before, self._at_once = self._at_once, (self._at_once + 1) // 2
        _log.warning(
            "not enough memory to decode %d samples at once; continuing with %d, with the same result (%s)",
            before, self._at_once, shortage,
        )  # fmt: skip


@torch.inference_mode()
def has_static_state(model: SequenceModel) -> bool:
    """Whether a model's state fits into its static state, after one token and after two."""
    token_1 = torch.zeros(1, dtype=torch.int32, device=model.device)
    try:
        static = model.static_state(1, 2, torch.zeros((), dtype=torch.int64, device=model.device))
        _, state = model.prefill(token_1[None])
        write_state(static, state)
        write_state(static, model.step(token_1, state)[1])
    except (TypeError, AttributeError, RuntimeError):
        return False
    return True
