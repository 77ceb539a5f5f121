"""Training settings, and the schedule of the learning rate."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval_gap.choices import Precision
from retrieval_gap.machine.errors import UsageError

if TYPE_CHECKING:  # the command line reads these settings without importing torch
    from torch import Tensor, device

MAX_SAMPLES = 2**63 - 1  # sample numbers are int64


def check_precision(precision: Precision, device: "device") -> None:
    """Raise UsageError for a precision that the device lacks."""
    if device.type != "cuda" and precision != "fp32":
        raise UsageError(f"precision {precision} is for GPUs; on the {device.type.upper()} there is fp32")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The paper's defaults: AdamW without weight decay, batch 64, 10k samples of warm-up, cosine to zero, fp32.

    samples: number of training samples; a remainder that does not fill a batch is not trained on.
    max_grad_norm: norm that gradients are clipped to; 0 for no clipping (the paper's).
    precision: "fp32" is exact float32; "tf32" lets a GPU round the factors of products; "bf16" computes matrix products
    and attention in bfloat16, with weights, gradients, norms, recurrent states and the loss in float32.
    """

    samples: int = 1_000_000
    batch_size: int = 64
    lr: float = 1e-3
    warmup_samples: int = 10_000
    max_grad_norm: float = 0.0
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        for name, value, good, wanted in (
            ("batch_size", self.batch_size, self.batch_size >= 1, "1 or more"),
            ("samples", self.samples, self.batch_size <= self.samples <= MAX_SAMPLES, "batch_size to 2**63 - 1"),
            ("lr", self.lr, 0 < self.lr < math.inf, "a finite number above 0"),
            ("warmup_samples", self.warmup_samples, 0 <= self.warmup_samples < self.samples, "0 to samples - 1"),
            ("max_grad_norm", self.max_grad_norm, 0 <= self.max_grad_norm < math.inf, "a finite number, 0 or more"),
        ):
            if not good:
                raise UsageError(f"{name} = {value} is out of range: expected {wanted}")

    @property
    def steps(self) -> int:
        return self.samples // self.batch_size

    def lr_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0: linear warm-up, then half a cosine to zero."""
        warmup = self.warmup_samples / self.batch_size
        if step < warmup:
            return self.lr * (step + 1) / (warmup + 1)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, self.steps - warmup)))

    def lr_at_steps(self, step: "Tensor") -> "Tensor":
        """`lr_at` for a tensor of steps of any shape, in float64 on its device; for a GPU that counts its own steps."""
        import torch

        warmup = self.warmup_samples / self.batch_size
        step = step.double()
        rising = self.lr * (step + 1) / (warmup + 1)
        falling = self.lr * 0.5 * (1 + torch.cos(math.pi * (step - warmup) / max(1.0, self.steps - warmup)))
        return torch.where(step < warmup, rising, falling)
