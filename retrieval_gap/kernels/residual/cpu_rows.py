"""What both residual layers do with some rows of the model's width D, a multiple of 16."""

from __future__ import annotations

from retrieval_gap.kernels.cpu.jobs import field
from retrieval_gap.kernels.cpu.lanes import FLOAT, VECTOR, ZERO, compiled, load, splat, store
from retrieval_gap.kernels.fused.cpu_kernels import normalise_row, normalise_row_back


@compiled
def normalise(y: int, x: int, gain: int, rows: int, width: int, eps: float, staging: int) -> None:
    """y = norm(x), rows of D side by side."""
    for r in range(0, rows * width * FLOAT, width * FLOAT):
        normalise_row(y + r, x + r, gain, width, eps, staging)


@compiled
def normalise_back(
    grad_x: int, grad_y: int, normed: int, grad_normed: int, x: int, gain: int, sums: int,
    rows: int, width: int, eps: float, staging: int,
) -> None:  # fmt: skip
    """grad_x = grad_y + what comes back through the norm; the gain's gradient is added to `sums`.

    normed: norm(x), written here: it is computed again.
    """
    row = width * FLOAT
    for r in range(0, rows * row, row):
        scale = normalise_row(normed + r, x + r, gain, width, eps, staging)
        normalise_row_back(grad_x + r, grad_normed + r, x + r, gain, sums, scale, width, staging)
        for c in range(r, r + row, VECTOR):
            store(grad_x + c, load(grad_x + c) + load(grad_y + c))


@compiled
def clear(address: int, numbers: int) -> None:
    """Zeros; a multiple of 16."""
    for i in range(0, numbers * FLOAT, VECTOR):
        store(address + i, splat(ZERO))


@compiled
def copy(target: int, source: int, numbers: int) -> None:
    """A multiple of 16 numbers."""
    for i in range(0, numbers * FLOAT, VECTOR):
        store(target + i, load(source + i))


@compiled
def head_in_cache(job: int, cache: int, b: int, h: int) -> int:
    """Where the rows of head h of sequence b begin in a tensor with axes (B, H, ...), of which the job's field `cache`
    is the address and the next two are the bytes to the next sequence and head."""
    return field(job, cache) + b * field(job, cache + 1) + h * field(job, cache + 2)


@compiled
def share(item: int, items: int, parts: int) -> int:
    """Where item i begins when parts 0, 1, ... are shared out evenly, in order."""
    return item * parts // items
