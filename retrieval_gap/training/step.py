"""One optimiser step, for a CPU and for a GPU.

Axes: B samples of a batch, M of a micro-batch, L positions.

Both are AdamW on the mean cross-entropy over a batch's graded tokens.  `HostStep` selects the graded positions before
the head, and checks every loss before it changes a weight.  On a GPU the first would make shapes depend on values and
the second would wait for the GPU at every step, so `DeviceStep` does neither: it is one CUDA graph for each length of a
batch, with its own count of steps and sum of losses, which the host reads now and then.

With several ranks, each takes the gradients of its share of a batch; loss and gradients are then combined to those of
the whole batch (see `Ranks`).
"""

import logging
import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from retrieval_gap.machine.cuda_graphs import BusyClock, Replay, graph_pool
from retrieval_gap.machine.devices import allow_tf32, memory_message
from retrieval_gap.machine.errors import HopelessError, RunError
from retrieval_gap.models import SequenceModel
from retrieval_gap.models.gradients import fill_missing
from retrieval_gap.training.batches import TrainingBatch, padded_lengths
from retrieval_gap.training.checkpoint import TrainingProgress
from retrieval_gap.training.config import TrainingConfig, check_precision
from retrieval_gap.training.ranks import ALONE, Ranks

_log = logging.getLogger(__name__)


class DivergedError(HopelessError):
    """The loss is no longer a number."""


class TrainingStep(Protocol):
    """Takes steps one by one, in order, after `start`.

    optimizer: its moments go into checkpoints.  micro_batch: samples of this rank that are in memory together.
    """

    optimizer: torch.optim.AdamW
    micro_batch: int

    def start(self, done: TrainingProgress) -> None:
        """Restore the count of steps and the sum of losses not yet reported."""

    def __call__(self, batch: TrainingBatch) -> None:
        """Take a step.  Raises DivergedError, or RunError if there is not enough memory for a single sample."""

    def loss_sum(self) -> float:
        """The sum of the losses since `start` or `forget_losses`.  Raises DivergedError if it is not finite."""

    def forget_losses(self) -> None:
        """Reset the sum to 0."""

    def busy_seconds(self) -> float | None:
        """Seconds that the GPU worked on steps since the last call; None without a GPU."""


def make_step(model: SequenceModel, config: TrainingConfig, longest: int, ranks: Ranks = ALONE) -> TrainingStep:
    """The step for the model's device.  longest: tokens of the longest sample.  Raises UsageError for a precision that
    the device lacks, or a batch with fewer samples than ranks."""
    check_precision(config.precision, model.device)
    return DeviceStep(model, config, longest, ranks) if model.device.type == "cuda" else HostStep(model, config, ranks)


class HostStep:
    """A step on the whole batch in one pass, which checks every loss and every gradient norm."""

    def __init__(self, model: SequenceModel, config: TrainingConfig, ranks: Ranks = ALONE) -> None:
        self.micro_batch = len(ranks.share(config.batch_size))
        self.optimizer = torch.optim.AdamW(_parameters(model), lr=config.lr, weight_decay=0.0, fused=True)
        self._model, self._config, self._ranks = model, config, ranks
        self._loss_sum = 0.0

    def start(self, done: TrainingProgress) -> None:
        self._loss_sum = done.loss_sum

    def __call__(self, batch: TrainingBatch) -> None:
        lr = self._config.lr_at(batch.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._model.loss(batch.tokens_BxL, batch.loss_mask_BxL)
        loss.backward()
        parameters = _parameters(self._model)
        fill_missing(parameters)
        loss = self._ranks.average_gradients(parameters, loss, batch.loss_mask_BxL[:, 1:].sum())
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm or math.inf)
        value = loss.item()
        for what, number in (("loss", value), ("gradient's norm", norm.item())):
            if not math.isfinite(number):
                raise DivergedError(f"the {what} is {number} at step {batch.step} (lr {lr:.3g})")
        self.optimizer.step()
        self._loss_sum += value

    def loss_sum(self) -> float:
        return self._loss_sum

    def forget_losses(self) -> None:
        self._loss_sum = 0.0

    def busy_seconds(self) -> None:
        return None


class _Fixed(NamedTuple):
    """The inputs of the CUDA graph for one length of a batch, and the graph."""

    tokens_BxL: Tensor
    loss_mask_BxL: Tensor
    replay: Replay


class DeviceStep:
    """A step on tensors alone, of which the host reads none, as a CUDA graph requires.

    It works on the CPU as well, operation by operation.  When memory runs out it halves the micro-batch and adds up the
    gradients of the same loss.
    """

    def __init__(self, model: SequenceModel, config: TrainingConfig, longest: int, ranks: Ranks = ALONE) -> None:
        device = model.device
        on_gpu = device.type == "cuda"
        self.micro_batch = len(ranks.share(config.batch_size))
        self.optimizer = torch.optim.AdamW(
            _parameters(model), lr=config.lr, weight_decay=0.0, fused=True, capturable=on_gpu
        )
        self._model, self._config, self._device, self._ranks = model, config, device, ranks
        self._lr = torch.tensor(config.lr, device=device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._fixed: dict[int, _Fixed] = {}
        self._pool = graph_pool(device)
        self._clock = BusyClock() if on_gpu else None
        if on_gpu:
            allow_tf32(config.precision == "tf32")
        with torch.no_grad():  # tables that grow with the length (of angles) must not move once a graph has read them
            model(torch.zeros(1, max(padded_lengths(longest)), dtype=torch.int32, device=device))

    def start(self, done: TrainingProgress) -> None:
        self._step.fill_(done.step)
        self._loss_sum.fill_(done.loss_sum)

    def __call__(self, batch: TrainingBatch) -> None:
        while True:
            try:
                return self._take(batch)
            except torch.OutOfMemoryError as error:
                shortage = " ".join(str(error).split())
            self._halve(shortage)  # outside the handler, whose traceback keeps tensors alive

    def loss_sum(self) -> float:
        value = float(self._loss_sum)
        if not math.isfinite(value):
            raise DivergedError(f"the loss is {value} at step {int(self._step)} (lr {float(self._lr):.3g})")
        return value

    def forget_losses(self) -> None:
        self._loss_sum.zero_()

    def busy_seconds(self) -> float | None:
        return None if self._clock is None else self._clock.take()

    def _take(self, batch: TrainingBatch) -> None:
        length = batch.tokens_BxL.shape[1]
        if length not in self._fixed:
            self._fixed[length] = self._fix(batch)
        fixed = self._fixed[length]
        fixed.tokens_BxL.copy_(batch.tokens_BxL)
        fixed.loss_mask_BxL.copy_(batch.loss_mask_BxL)
        timed: AbstractContextManager[None] = nullcontext() if self._clock is None else self._clock.timed()
        with timed:
            fixed.replay()

    def _fix(self, batch: TrainingBatch) -> _Fixed:
        tokens_BxL, mask_BxL = batch.tokens_BxL.clone(), batch.loss_mask_BxL.clone()
        return _Fixed(tokens_BxL, mask_BxL, Replay(lambda: self._work(tokens_BxL, mask_BxL), self._device, self._pool))

    def _work(self, tokens_BxL: Tensor, mask_BxL: Tensor) -> None:
        """Schedule, forward, backward, clipping, AdamW.  The count stops once the loss is not finite."""
        self._lr.copy_(self._config.lr_at_steps(self._step))
        self.optimizer.zero_grad(set_to_none=True)  # a graph makes its own gradients, in its own memory
        graded = mask_BxL[:, 1:].sum()
        batch_loss = torch.zeros_like(self._loss_sum)
        for part in zip(tokens_BxL.split(self.micro_batch), mask_BxL.split(self.micro_batch), strict=True):
            with torch.autocast(
                self._device.type, torch.bfloat16, enabled=self._config.precision == "bf16", cache_enabled=False
            ):
                loss = self._model.summed_loss(*part) / graded
            loss.backward()
            batch_loss += loss.detach()
        parameters = _parameters(self._model)
        fill_missing(parameters)
        batch_loss = self._ranks.average_gradients(parameters, batch_loss, graded)
        if self._config.max_grad_norm:
            torch.nn.utils.clip_grad_norm_(parameters, self._config.max_grad_norm)
        self.optimizer.step()
        self._loss_sum += batch_loss
        self._step += torch.isfinite(self._loss_sum)

    def _halve(self, shortage: str) -> None:
        """Halve the micro-batch and free all graphs.  Raises RunError if a micro-batch is already one sample."""
        on_gpu = self._device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize()  # the memory of graphs that still run is about to be freed
        self._fixed.clear()
        self.optimizer.zero_grad(set_to_none=True)
        if on_gpu:
            torch.cuda.empty_cache()
            self._pool = graph_pool(self._device)
        told = memory_message(self._device)
        if self.micro_batch == 1:
            raise RunError(f"there is not enough memory to train on one sample at a time: {shortage} {told}".rstrip())
        before, self.micro_batch = self.micro_batch, (self.micro_batch + 1) // 2
        _log.warning(
            "not enough memory for %d samples at once; continuing with %d, with the same result (%s)",
            before, self.micro_batch, shortage,
        )  # fmt: skip


def _parameters(model: SequenceModel) -> list[torch.nn.Parameter]:
    return list(model.trained_parameters().values())
