"""The backward scan's ends of a chunk: everything that is done once per step and channel, not once per state.

Legend: B batch, L time, D channels.

Here are softplus, the skip connection and the gate, with their gradients; one call is one vector of 16 channels.
"""

from __future__ import annotations

from retrieval_gap.kernels.cpu import VECTOR
from retrieval_gap.kernels.cpu.elementary import LN_2, exp_of_minus_absolute, sigmoid, sigmoid_from, softplus_from
from retrieval_gap.kernels.cpu.jobs import field
from retrieval_gap.kernels.cpu.lanes import ONE, ZERO, compiled, fma, splat
from retrieval_gap.kernels.cpu.memory import load, prefetch, store
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles
from retrieval_gap.kernels.selective_scan.cpu_tiles import CHUNK, at

# The rows of a chunk, for each vector of channels: softplus(delta), its slope, that times x, the output before the
# gate, its gradient, what the gate's gradient needs besides, and the gradients of delta x and of softplus(delta)
# (the latter through the decay only, and in units of ln 2).
STEP, SLOPE, INPUT, OUTPUT, GRAD_OUTPUT, GATE, GRAD_INPUT, GRAD_STEP = (CHUNK * VECTOR * i for i in range(8))
ROWS = 8 * CHUNK * VECTOR


@compiled
def open_chunk(job: int, b: int, start: int, steps: int, first: int, D: int, bias: int, rows: int) -> None:
    """Before a chunk: softplus and its slope, delta x, D x, and the gradient that comes through the gate."""
    x, x_stride = at(job, tiles.X, b, start, first), field(job, tiles.X + 2)
    delta, delta_stride = at(job, tiles.DELTA, b, start, first), field(job, tiles.DELTA + 2)
    z, z_stride = at(job, tiles.Z, b, start, first), field(job, tiles.Z + 2)
    grad, grad_stride = at(job, tiles.GRAD_Y, b, start, first), field(job, tiles.GRAD_Y + 2)
    skip, shift = load(D), load(bias)
    for t in range(steps):
        row, value = rows + t * VECTOR, load(x + t * x_stride)
        prefetch(x + (t - CHUNK) * x_stride)
        prefetch(delta + (t - CHUNK) * delta_stride)
        raw = load(delta + t * delta_stride) + shift
        e = exp_of_minus_absolute(raw)
        step = softplus_from(raw, e)
        store(row + STEP, step)
        store(row + SLOPE, sigmoid_from(raw, e))
        store(row + INPUT, step * value)
        store(row + OUTPUT, skip * value)
        store(row + GRAD_INPUT, splat(ZERO))
        store(row + GRAD_STEP, splat(ZERO))
    if field(job, tiles.Z) != 0:
        for t in range(steps):
            row, gate, out = rows + t * VECTOR, load(z + t * z_stride), load(grad + t * grad_stride)
            prefetch(z + (t - CHUNK) * z_stride)
            prefetch(grad + (t - CHUNK) * grad_stride)
            passed = sigmoid(gate)
            store(row + GRAD_OUTPUT, out * gate * passed)
            store(row + GATE, out * passed * fma(gate, splat(ONE) - passed, splat(ONE)))
    else:
        for t in range(steps):
            store(rows + t * VECTOR + GRAD_OUTPUT, load(grad + t * grad_stride))


@compiled
def close_chunk(
    job: int, b: int, start: int, steps: int, first: int, D: int, grad_D: int, grad_bias: int, rows: int
) -> None:
    """After a chunk: the gradients of x, delta and z, and this chunk's share of those of D and the bias."""
    x, x_stride = at(job, tiles.X, b, start, first), field(job, tiles.X + 2)
    dx, dx_stride = at(job, tiles.GRAD_X, b, start, first), field(job, tiles.GRAD_X + 2)
    dd, dd_stride = at(job, tiles.GRAD_DELTA, b, start, first), field(job, tiles.GRAD_DELTA + 2)
    dz, dz_stride = at(job, tiles.GRAD_Z, b, start, first), field(job, tiles.GRAD_Z + 2)
    skip, sum_D, sum_bias = load(D), load(grad_D), load(grad_bias)
    for t in range(steps):
        row, value = rows + t * VECTOR, load(x + t * x_stride)
        du, dy = load(row + GRAD_INPUT), load(row + GRAD_OUTPUT)
        grad_raw = fma(load(row + GRAD_STEP), splat(LN_2), du * value) * load(row + SLOPE)
        sum_D, sum_bias = fma(dy, value, sum_D), sum_bias + grad_raw
        store(dx + t * dx_stride, fma(du, load(row + STEP), skip * dy))
        store(dd + t * dd_stride, grad_raw)
    store(grad_D, sum_D)
    store(grad_bias, sum_bias)
    if field(job, tiles.Z) != 0:
        for t in range(steps):
            row = rows + t * VECTOR
            store(dz + t * dz_stride, load(row + GATE) * load(row + OUTPUT))
