"""The batches of a training run: drawn ahead by background threads and, on a GPU, copied ahead too.

Axes: B samples, L positions.

A batch is as long as its longest sample.  A GPU replays its step for fixed shapes, so there a batch is padded to one of
a few lengths; padding is not graded, and no graded position reads it.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.api import PAD
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.curriculum import TrainingData

# (threads, batches ahead).  For some tasks a GPU step is as short as the drawing of a batch.
DRAWING = {"cpu": (1, 4), "cuda": (2, 16)}
LENGTHS = 4
ALIGNMENT = 8  # positions: tensor cores and attention kernels want lengths that are multiples of it


@dataclass(frozen=True)
class TrainingBatch:
    """The samples of one step, as in `tasks.api.Batch`.  tokens: their number, without padding."""

    step: int
    tokens_BxL: Tensor
    loss_mask_BxL: Tensor
    tokens: int


def training_batches(
    data: TrainingData, config: TrainingConfig, first_step: int, device: torch.device, share: range | None = None
) -> Iterator[TrainingBatch]:
    """The batches from `first_step` on, on the device, in order.

    share: which samples of every batch to draw; by default all.
    Raises RunError for a trace that is longer than the task's `max_length`.
    """
    on_gpu = device.type == "cuda"
    lengths = padded_lengths(data.max_length) if on_gpu else ()
    share = range(config.batch_size) if share is None else share

    def draw(step: int) -> TrainingBatch:
        first = step * config.batch_size
        batch = data.sample(np.arange(first + share.start, first + share.stop))
        tokens_BxL, mask_BxL = batch.tokens_BxL, batch.loss_mask_BxL
        tokens = int(batch.length_B.sum())
        if not on_gpu:
            return TrainingBatch(step, torch.from_numpy(tokens_BxL), torch.from_numpy(mask_BxL), tokens)
        length = padded_length(int(batch.length_B.max()), lengths)
        return TrainingBatch(step, pad(tokens_BxL, length, pinned=True), pad(mask_BxL, length, pinned=True), tokens)

    def drawn_ahead() -> Iterator[TrainingBatch]:
        threads, ahead = DRAWING[device.type]
        with ThreadPoolExecutor(threads, thread_name_prefix="batches") as background:
            first_steps = range(first_step, min(first_step + ahead, config.steps))
            drawn = {step: background.submit(draw, step) for step in first_steps}
            for step in range(first_step, config.steps):
                batch = drawn.pop(step).result()
                if (later := step + ahead) < config.steps:
                    drawn[later] = background.submit(draw, later)
                yield batch

    return _copied_ahead(drawn_ahead(), device) if on_gpu else drawn_ahead()


def padded_lengths(longest: int) -> tuple[int, ...]:
    """The lengths that batches are padded to: quarters of the longest, rounded up so that the positions that predict a
    next token (all but the last) are a multiple of ALIGNMENT."""
    quarters = (-(-(longest - 1) * quarter // LENGTHS) for quarter in range(1, LENGTHS + 1))
    return tuple(sorted({1 + ALIGNMENT * max(1, -(-positions // ALIGNMENT)) for positions in quarters}))


def padded_length(length: int, lengths: tuple[int, ...]) -> int:
    """The shortest of `lengths` that holds `length` tokens.  Raises RunError if none does."""
    fitting = [padded for padded in lengths if padded >= length]
    if not fitting:
        raise RunError(f"a trace of {length} tokens is longer than max_length of its task allows")
    return min(fitting)


def pad(array_BxL: NDArray[np.generic], length: int, *, pinned: bool = False) -> Tensor:
    """The array cut or padded with zeros (`PAD`, not graded) to `length` positions.  pinned: ready to copy to a GPU."""
    assert PAD == 0
    kept_BxL = torch.from_numpy(array_BxL[:, :length])
    padded_BxL = torch.zeros(len(array_BxL), length, dtype=kept_BxL.dtype, pin_memory=pinned)
    padded_BxL[:, : kept_BxL.shape[1]] = kept_BxL
    return padded_BxL


def _copied_ahead(batches: Iterator[TrainingBatch], device: torch.device) -> Iterator[TrainingBatch]:
    """Copy each batch, on a separate stream, while the GPU works on the one before.  torch reuses a pinned block only
    after the copies out of it are done."""
    copies = torch.cuda.Stream(device)

    def copy(batch: TrainingBatch) -> tuple[TrainingBatch, torch.cuda.Event]:
        with torch.cuda.stream(copies):
            tokens_BxL, mask_BxL = (t.to(device, non_blocking=True) for t in (batch.tokens_BxL, batch.loss_mask_BxL))
            return replace(batch, tokens_BxL=tokens_BxL, loss_mask_BxL=mask_BxL), copies.record_event()

    def arrived(batch: TrainingBatch, copied: torch.cuda.Event) -> TrainingBatch:
        work = torch.cuda.current_stream(device)
        work.wait_event(copied)
        for tensor in (batch.tokens_BxL, batch.loss_mask_BxL):
            tensor.record_stream(work)  # its memory belongs to the copying stream, which must not reuse it too early
        return batch

    under_way = None
    for batch in batches:
        ready, under_way = under_way, copy(batch)
        if ready is not None:
            yield arrived(*ready)
    if under_way is not None:
        yield arrived(*under_way)
