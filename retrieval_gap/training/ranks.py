"""Processes that train one model together, each on its share of every batch (data parallelism).

All ranks hold the same weights and moments.  A step's gradients are summed over the ranks, each weighted by its number
of graded tokens, so that the loss is the mean over the whole batch's graded tokens, as in one process; clipping, AdamW
and the schedule then see the same values as there.  Rank 0 leads: it alone reads and writes files.

Messages between ranks use gloo on the CPU and NCCL on a GPU.  Not yet run on a GPU.
"""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.training.checkpoint import MOMENTS, TrainingProgress

NOTHING, SAVE, STOP = range(3)  # wishes of a rank after a step; the largest is granted
PLACES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


class LostRankError(RunError):
    """Another rank is gone."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A rank's number among all `count` ranks, and among the `local_count` ranks of its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    def device(self, chosen: torch.device) -> torch.device:
        """This rank's device, one GPU for each rank of a machine.  Raises UsageError if there are fewer GPUs."""
        if chosen.type != "cuda" or self.count == 1:
            return chosen
        if (gpus := torch.cuda.device_count()) < self.local_count:
            raise UsageError(f"{self.local_count} ranks want a GPU each, and there are {gpus}; --device cpu uses none")
        return torch.device("cuda", self.local_rank)


class Ranks:
    """Communication of one rank with the others.  A single rank (the default) gets back what it passes in.

    All ranks must make the same calls in the same order.  Calls raise LostRankError if a rank is gone.
    """

    def __init__(self, place: Place = Place()) -> None:
        self.place, self.leads = place, place.rank == 0
        self._begun = False
        self._asked: tuple[Tensor, dist.Work] | None = None

    @property
    def count(self) -> int:
        return self.place.count

    def share(self, batch_size: int) -> range:
        """This rank's samples of a batch.  Raises UsageError if a rank would have none."""
        if batch_size < self.count:
            raise UsageError(f"--batch-size {batch_size} is too small to be shared by {self.count} ranks")
        return range(batch_size * self.place.rank // self.count, batch_size * (self.place.rank + 1) // self.count)

    def begin(self) -> bool:
        """On rank 0, announce that training begins.  On the others, return whether it begins or nothing is left to
        train."""
        self._begun = True
        return self.from_rank_0(True)

    def start_together(
        self, done: TrainingProgress, weights: Mapping[str, nn.Parameter], optimizer: Any
    ) -> TrainingProgress:
        """Give every rank the progress, weights and moments of rank 0; return the progress."""
        if self.count == 1:
            return done
        told_4 = torch.tensor([float(number) for number in astuple(done)], dtype=torch.float64)
        with _kept_together():
            dist.broadcast(told_4, 0)
            step, loss_sum, loss_count, stopped = told_4.tolist()
            for parameter in weights.values():
                state = optimizer.state[parameter]
                if not state:  # made here, so that a step allocates no memory once its gradients are under way
                    state |= {"step": torch.tensor(0.0, device=parameter.device)}
                    state |= {moment: torch.zeros_like(parameter) for moment in MOMENTS}
                state["step"].fill_(step)
                for tensor in (parameter.detach(), *(state[moment] for moment in MOMENTS)):
                    dist.broadcast(tensor, 0)
        return TrainingProgress(step=int(step), loss_sum=loss_sum, loss_count=int(loss_count), stopped=bool(stopped))

    def average_gradients(self, parameters: Sequence[nn.Parameter], loss: Tensor, graded: Tensor) -> Tensor:
        """Replace the gradients of the mean `loss` over this rank's `graded` tokens by those of the mean over the
        tokens of all ranks; return that mean.  Sends one message; all memory is allocated before it."""
        if self.count == 1:
            return loss
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        ends = [loss.detach().reshape(1), torch.ones_like(loss).reshape(1)]
        flat = torch.cat([tensor.flatten().float() for tensor in (*gradients, *ends)]).mul_(graded)
        all_graded = torch.empty_like(flat[-1])
        with _kept_together():
            dist.all_reduce(flat)
        flat.div_(all_graded.copy_(flat[-1]))
        pieces = flat[:-2].split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))
        return flat[-2]

    def total(self, *counts: int) -> list[int]:
        """The sum of each count over the ranks."""
        if self.count == 1:
            return list(counts)
        sums = torch.tensor(counts, dtype=torch.int64)
        with _kept_together():
            dist.all_reduce(sums)
        return sums.tolist()

    def largest(self, wish: int) -> int:
        """The largest wish of any rank.  A single rank gets its own wish; several get the answer to the previous call,
        so that no rank waits for one that is still on its way."""
        if self.count == 1:
            return wish
        before, wishes = self._asked, torch.tensor(wish)
        with _kept_together():
            self._asked = wishes, dist.all_reduce(wishes, dist.ReduceOp.MAX, async_op=True)
            if before is None:
                return NOTHING
            told, answer = before
            answer.wait()
        return int(told)

    def close(self) -> None:
        """End the communication of the ranks, as the last common call.  May be called again."""
        if self.count == 1 or not dist.is_initialized():
            return
        if self.leads and not self._begun:
            self.from_rank_0(False)
        if self._asked is not None:
            with _kept_together():
                self._asked[1].wait()
        gc.collect()  # CUDA graphs that hold messages must be freed before the process group
        dist.destroy_process_group()

    def from_rank_0(self, value: bool) -> bool:
        """Rank 0's value, on every rank; the values of the others are ignored."""
        if self.count == 1:
            return value
        sent = torch.tensor(int(value))
        with _kept_together():
            dist.broadcast(sent, 0)
        return bool(sent)


ALONE = Ranks()


def place_of_environment() -> Place | None:
    """The place of this process by torchrun's environment variables; None if they are not set.

    Raises UsageError for impossible values.
    """
    given = {name: os.environ.get(name, "") for name in PLACES}
    if not all(given.values()):
        return None
    try:
        rank, count, local_rank = (int(given[name]) for name in PLACES[:3])
        local_count = int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or min(count, local_rank + 1)
    except ValueError:
        rank, count, local_rank, local_count = -1, 0, 0, 0
    if not (0 <= rank < count and 0 <= local_rank < local_count <= count):
        told = " ".join(f"{name}={value}" for name, value in given.items())
        raise UsageError(f"the environment names no place among ranks: {told}; torchrun sets these")
    return Place(rank=rank, count=count, local_rank=local_rank, local_count=local_count)


@contextmanager
def joined(place: Place, device: torch.device, store: dist.Store | None = None) -> Iterator[Ranks]:
    """The ranks, joined through `store` or torchrun's variables.  Raises LostRankError if they do not come together."""
    ranks = Ranks(place)
    if ranks.count > 1:
        with _kept_together():
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=place.rank,
                world_size=place.count,
            )
    try:
        yield ranks
        ranks.close()
    except BaseException as error:
        with suppress(RuntimeError):  # report the error that ended the ranks, not one that follows from it
            if not isinstance(error, LostRankError):
                ranks.close()
            elif device.type != "cuda":  # NCCL would wait for the lost rank
                dist.destroy_process_group()
        raise


@contextmanager
def _kept_together() -> Iterator[None]:
    """Context of a message between ranks.  Raises LostRankError if it does not come through."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).partition("This is typically")[0].strip().partition("\n")[0]
        raise LostRankError(
            f"another rank is gone ({reason}); the same command resumes from the last checkpoint"
        ) from error
