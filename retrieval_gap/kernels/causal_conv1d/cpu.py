"""Causal depthwise convolution of width 4 with SiLU, forward and backward: 16 channels per vector.

Legend: B batch, L time, D channels, a multiple of 16.

An item is one sequence. The fused Mamba layer also uses the functions on rows: there the rows stay in cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d.naive import last_inputs
from retrieval_gap.kernels.cpu import FLOAT, VECTOR, jobs
from retrieval_gap.kernels.cpu.elementary import sigmoid, silu
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Job, Worker, field, next_item, own_scratch
from retrieval_gap.kernels.cpu.lanes import ONE, compiled, fma, inline, splat
from retrieval_gap.kernels.cpu.memory import load, store
from retrieval_gap.kernels.cpu.rows import clear, copy

WIDTH, BEFORE = 4, 3

BATCH, LENGTH, CHANNELS = range(FIRST_FIELD, FIRST_FIELD + 3)
# Addresses of contiguous tensors: FILTER (4, D), STATE (B, 3, D) or 0; GRAD_FILTER (B, 5, D): 4 taps, then the bias.
FILTER, BIAS, STATE, GRAD_FILTER, GRAD_STATE = range(CHANNELS + 1, CHANNELS + 6)
# Tensors with axes (batch, time, channels): an address, then the bytes to the next sequence and to the next step.
X, Y, GRAD_Y, GRAD_X = range(GRAD_STATE + 1, GRAD_STATE + 13, 3)
FIELDS = GRAD_X + 3


def scratch_bytes(length: int, channels: int) -> int:
    """Bytes per worker: the first rows, and the gradients of a sequence with three rows on either side."""
    return (length + 4 * BEFORE) * channels * FLOAT


@compiled
def copy_first_rows(rows: int, before: int, x: int, x_stride: int, length: int, channels: int) -> None:
    """Copy the three inputs before the first step (zeros if `before` is 0) and the first three into consecutive rows,
    so that the filter can read across both."""
    row = channels * FLOAT
    if before != 0:
        copy(rows, before, BEFORE * channels)
    else:
        clear(rows, BEFORE * channels)
    for t in range(min(BEFORE, length)):
        copy(rows + (BEFORE + t) * row, x + t * x_stride, channels)


@inline
def _seen_by(t: int, first_rows: int, row: int, x: int, x_stride: int) -> Any:
    """The address of the input three steps before step t, and the bytes to the next input."""
    return (first_rows + t * row, row) if t < BEFORE else (x + (t - BEFORE) * x_stride, x_stride)


@inline
def _filtered(x: int, stride: int, taps: int, row: int, bias: Any) -> Any:
    """The filter's output for 16 channels, whose input of three steps earlier is at `x`."""
    y = fma(load(taps + row), load(x + stride), fma(load(taps), load(x), bias))
    return fma(load(taps + 3 * row), load(x + 3 * stride), fma(load(taps + 2 * row), load(x + 2 * stride), y))


@compiled
def convolve(
    y: int, y_stride: int, x: int, x_stride: int, first_rows: int, taps: int, bias: int, length: int, channels: int
) -> None:
    """Apply the filter and SiLU to a sequence."""
    row = channels * FLOAT
    for t in range(length):
        seen, stride = _seen_by(t, first_rows, row, x, x_stride)
        for c in range(0, row, VECTOR):
            store(y + t * y_stride + c, silu(_filtered(seen + c, stride, taps + c, row, load(bias + c))))


@compiled
def filter_back(
    grad: int, x: int, x_stride: int, first_rows: int, taps: int, bias: int, sums: int, length: int, channels: int
) -> None:
    """Turn the gradients of a sequence's outputs (contiguous rows) into those before SiLU, in place; add the gradients
    of the taps and the bias to `sums` (five rows)."""
    row = channels * FLOAT
    for c in range(0, row, VECTOR):
        s0, s1, s2 = load(sums + c), load(sums + row + c), load(sums + 2 * row + c)
        s3, total, shift = load(sums + 3 * row + c), load(sums + 4 * row + c), load(bias + c)
        for t in range(length):
            seen, stride = _seen_by(t, first_rows, row, x, x_stride)
            seen += c
            y = _filtered(seen, stride, taps + c, row, shift)
            s = sigmoid(y)
            g = load(grad + t * row + c) * s * fma(y, splat(ONE) - s, splat(ONE))
            store(grad + t * row + c, g)
            s0, s1, s2 = fma(g, load(seen), s0), fma(g, load(seen + stride), s1), fma(g, load(seen + 2 * stride), s2)
            s3, total = fma(g, load(seen + 3 * stride), s3), total + g
        store(sums + c, s0)
        store(sums + row + c, s1)
        store(sums + 2 * row + c, s2)
        store(sums + 3 * row + c, s3)
        store(sums + 4 * row + c, total)


@compiled
def inputs_back(target: int, stride: int, grad: int, taps: int, steps: int, channels: int) -> None:
    """Write the gradients of `steps` inputs, given those before SiLU at the same step and the three after."""
    row = channels * FLOAT
    for t in range(steps):
        for c in range(0, row, VECTOR):
            tap, g = taps + c, grad + t * row + c
            later = fma(load(tap + row), load(g + 2 * row), load(tap) * load(g + 3 * row))
            later = fma(load(tap + 2 * row), load(g + row), later)
            store(target + t * stride + c, fma(load(tap + 3 * row), load(g), later))


@compiled
def _at(job: int, view: int, b: int) -> int:
    return field(job, view) + b * field(job, view + 1)


@compiled
def _state_of(job: int, tensor: int, b: int) -> int:
    return field(job, tensor) + b * BEFORE * field(job, CHANNELS) * FLOAT if field(job, tensor) != 0 else 0


@Worker
def forward(job: int) -> None:
    """Take sequences until none is left."""
    first_rows, b, length, channels = own_scratch(job), next_item(job), field(job, LENGTH), field(job, CHANNELS)
    taps, bias = field(job, FILTER), field(job, BIAS)
    while b < field(job, BATCH):
        x, stride = _at(job, X, b), field(job, X + 2)
        copy_first_rows(first_rows, _state_of(job, STATE, b), x, stride, length, channels)
        convolve(_at(job, Y, b), field(job, Y + 2), x, stride, first_rows, taps, bias, length, channels)
        b = next_item(job)


@Worker
def backward(job: int) -> None:
    """Take sequences until none is left."""
    first_rows, b, length, channels = own_scratch(job), next_item(job), field(job, LENGTH), field(job, CHANNELS)
    taps, bias, row = field(job, FILTER), field(job, BIAS), channels * FLOAT
    before = first_rows + 2 * BEFORE * row
    grad = before + BEFORE * row
    clear(before, BEFORE * channels)
    clear(grad + length * row, BEFORE * channels)
    while b < field(job, BATCH):
        x, stride, sums = _at(job, X, b), field(job, X + 2), field(job, GRAD_FILTER) + b * (WIDTH + 1) * row
        clear(sums, (WIDTH + 1) * channels)
        for t in range(length):
            copy(grad + t * row, _at(job, GRAD_Y, b) + t * field(job, GRAD_Y + 2), channels)
        copy_first_rows(first_rows, _state_of(job, STATE, b), x, stride, length, channels)
        filter_back(grad, x, stride, first_rows, taps, bias, sums, length, channels)
        inputs_back(_at(job, GRAD_X, b), field(job, GRAD_X + 2), grad, taps, length, channels)
        inputs_back(_state_of(job, GRAD_STATE, b), row, before, taps, BEFORE, channels)
        b = next_item(job)


def causal_conv1d(
    x_BxLxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, initial_state_BxKxD: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The outputs, and the last inputs. See `retrieval_gap.kernels.causal_conv1d`."""
    y_BxLxD = _CausalConv1d.apply(x_BxLxD, weight_DxK, bias_D, initial_state_BxKxD)
    return y_BxLxD, last_inputs(x_BxLxD, initial_state_BxKxD, BEFORE)


def _run(job: Job, worker: Worker, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> None:
    batch, length, channels = x.shape
    job.put(BATCH, *x.shape)
    job.flats({FILTER: weight.t(), BIAS: bias, STATE: state})
    job.views({X: x})
    # A forward step of 16 channels takes about 40 vector instructions, a backward step 60.
    job.run(worker, jobs.thread_count(batch, 3 * batch * length * channels), scratch_bytes(length, channels))


class _CausalConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, state: Tensor | None) -> Tensor:
        y, job = x.new_empty(x.shape), Job(FIELDS)
        job.views({Y: y})
        _run(job, forward, x, weight, bias, state)
        ctx.save_for_backward(x, weight, bias, state)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, state = ctx.saved_tensors
        batch, _, channels = x.shape
        grad_x, grad_state = x.new_empty(x.shape), x.new_empty(batch, BEFORE, channels)
        grad_filter, job = x.new_empty(batch, WIDTH + 1, channels), Job(FIELDS)
        job.flats({GRAD_FILTER: grad_filter, GRAD_STATE: grad_state})
        job.views({GRAD_Y: grad_y, GRAD_X: grad_x})
        _run(job, backward, x, weight, bias, state)
        of_filter = jobs.sum_in_order(grad_filter)
        return grad_x, of_filter[:-1].t(), of_filter[-1], grad_state if ctx.needs_input_grad[3] else None
