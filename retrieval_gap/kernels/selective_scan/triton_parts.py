"""Shared by the Triton kernels of the scan: a program's part of the work, rows of sequences, elementary functions.

Legend: B batch, L time, D channels (in a kernel: those of its block), N states per channel (in a kernel: padded to a
power of two).

A program is one warp. It owns a block of channels of one segment of one sequence and walks that segment step by step,
its state a tile (N, D) in registers. A sequence has one segment unless batch and channels are too few to fill the GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
# Sizes that are not compiled into a kernel; only loops over time need the last two. `channels` is one of them so that
# the compiler does not see how rows of tiles are aligned: it would give a thread four adjacent channels with a quarter
# of the states, and compute what depends on the channel alone four times.
SIZES = ("batch", "channels", "segments", "length", "segment_length")


class View(NamedTuple):
    """A tensor with axes (sequence, time, lane), lanes side by side; `sequence` and `time` are strides in elements."""

    data: Any
    sequence: Any
    time: Any


class Rows(NamedTuple):
    """Views of what a step reads: wide rows (x, delta, z) of channels, narrow ones (B, C) of states."""

    x: Any
    delta: Any
    B: Any
    C: Any
    z: Any


class Weights(NamedTuple):
    """What all steps share: A (N, D), D (D) and the bias of delta (D), contiguous."""

    A: Any
    D: Any
    bias: Any


@triton.jit
def own_part(batch: tl.tensor, channels: tl.tensor, SHAPE: tl.constexpr) -> tl.tuple:
    """The channels, sequence and segment of this program, and the number of its block of channels."""
    program = tl.program_id(0)
    blocks = tl.cdiv(channels, SHAPE.BLOCK)
    block, others = program % blocks, program // blocks
    return block * SHAPE.BLOCK + tl.arange(0, SHAPE.BLOCK), (others % batch).to(tl.int64), others // batch, block


@triton.jit
def tile_of(d_D: tl.tensor, channels: tl.tensor, SHAPE: tl.constexpr) -> tl.tuple:
    """The offsets of a program's tile in a contiguous (states, channels) tensor, and which of its entries exist."""
    n_N = tl.arange(0, SHAPE.N)
    return n_N[:, None] * channels + d_D[None, :], (n_N < SHAPE.STATES)[:, None] & (d_D < channels)[None, :]


@triton.jit
def load_channels(data: tl.tensor, d_D: tl.tensor, channels: tl.tensor) -> tl.tensor:
    """One number per channel, as float32; zeros if there is no such tensor or channel."""
    if data is None:
        values_D = tl.zeros_like(d_D).to(tl.float32)
    else:
        values_D = tl.load(data + d_D, mask=d_D < channels, other=0.0).to(tl.float32)
    return values_D


@triton.jit
def load_weights(weights: tl.tuple, d_D: tl.tensor, channels: tl.tensor, SHAPE: tl.constexpr) -> tl.tuple:
    """A log2(e), D and bias. With that factor the decay exp(delta A) is a power of two: one instruction."""
    tile_NxD, has_NxD = tile_of(d_D, channels, SHAPE)
    rate_NxD = tl.load(weights.A + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32) * LOG2_E
    return rate_NxD, load_channels(weights.D, d_D, channels), load_channels(weights.bias, d_D, channels)


@triton.jit
def lanes_of(view: tl.tuple, sequence: tl.tensor, first: tl.tensor, lane: tl.tensor, lanes: tl.tensor) -> tl.tuple:
    """The rows of one sequence from `first` on: the first one's address, the rows' stride, the lanes, which exist."""
    stride = tl.cast(view.time, tl.int64)
    return view.data + sequence * view.sequence + first * stride, stride, lane, lane < lanes


@triton.jit
def narrow_lanes_of(view: tl.tuple, sequence: tl.tensor, first: tl.tensor, SHAPE: tl.constexpr) -> tl.tuple:
    """`lanes_of` rows of states, which begin at multiples of UNIT numbers, so that UNIT can be loaded together."""
    stride = tl.multiple_of(tl.cast(view.time, tl.int64), SHAPE.UNIT)
    offset = tl.multiple_of(sequence * view.sequence, SHAPE.UNIT) + first * stride
    n_N = tl.arange(0, SHAPE.N)
    return view.data + offset, stride, n_N, n_N < SHAPE.STATES


@triton.jit
def rows_of(
    rows: tl.tuple, b: tl.tensor, first: tl.tensor, d_D: tl.tensor, channels: tl.tensor, SHAPE: tl.constexpr
) -> tl.tuple:
    """`lanes_of` x, delta, B, C and, if given, z."""
    placed: tl.tuple = (lanes_of(rows.x, b, first, d_D, channels), lanes_of(rows.delta, b, first, d_D, channels))
    placed += (narrow_lanes_of(rows.B, b, first, SHAPE), narrow_lanes_of(rows.C, b, first, SHAPE))
    if rows.z is not None:
        placed += (lanes_of(rows.z, b, first, d_D, channels),)
    return placed


@triton.jit
def moved(lanes: tl.tuple, count: tl.tensor) -> tl.tuple:
    """The same lanes, `count` rows further on."""
    return lanes[0] + count * lanes[1], lanes[1], lanes[2], lanes[3]


@triton.jit
def all_moved(placed: tl.tuple, count: tl.tensor) -> tl.tuple:
    """`rows_of`, `count` rows further on."""
    later: tl.tuple = ()
    for i in tl.static_range(len(placed)):
        later += (moved(placed[i], count),)
    return later


@triton.jit
def is_step(step: tl.tensor, end: tl.tensor, SHAPE: tl.constexpr) -> tl.tensor:
    """Whether a step of a strip exists. In a sequence of WHOLE strips all do, and nothing is masked."""
    return (step < end) | SHAPE.WHOLE


@triton.jit
def load_row(lanes: tl.tuple, i: tl.constexpr, exists: tl.tensor) -> tl.tensor:
    """Row i as float32; zeros where it does not exist."""
    return tl.load(lanes[0] + i * lanes[1] + lanes[2], mask=lanes[3] & exists, other=0.0).to(tl.float32)


@triton.jit
def store_row(lanes: tl.tuple, i: tl.constexpr, exists: tl.tensor, row: tl.tensor) -> None:
    """Write row i, if it exists, rounded to the tensor's dtype."""
    tl.store(lanes[0] + i * lanes[1] + lanes[2], row, mask=lanes[3] & exists)


@triton.jit
def load_step(placed: tl.tuple, i: tl.constexpr, exists: tl.tensor) -> tl.tuple:
    """Row i of each of `rows_of`. (A row that nobody uses is not loaded: the compiler drops it.)"""
    step: tl.tuple = ()
    for k in tl.static_range(len(placed)):
        step += (load_row(placed[k], i, exists),)
    return step


@triton.jit
def load_steps(placed: tl.tuple, first: tl.tensor, end: tl.tensor, SHAPE: tl.constexpr) -> tl.tuple:
    """Load a strip from `first` on: all loads are issued before the first is used."""
    STRIP: tl.constexpr = SHAPE.STRIP
    steps: tl.tuple = ()
    for i in tl.static_range(STRIP):
        steps += (load_step(placed, i, is_step(first + i, end, SHAPE)),)
    return steps


@triton.jit
def softplus(raw: tl.tensor) -> tl.tuple:
    """log(1 + e^v), and its slope: to float32's last digits for every v, NaN for NaN.

    log(1 + e) with e = e^-|v| is 2 atanh(s), s = e / (2 + e) <= 1/3, whose series is cut with 1e-8 left.
    """
    e = tl.exp2(-tl.abs(raw) * LOG2_E)
    s = e / (2.0 + e)
    q = s * s
    series = 1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * (1 / 11 + q * (1 / 13))))))
    return tl.maximum(raw, 0.0) + 2.0 * s * series, tl.where(raw >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def sigmoid(v: tl.tensor) -> tl.tensor:
    """1 / (1 + e^-v) without overflow on either side."""
    e = tl.exp2(-tl.abs(v) * LOG2_E)
    return tl.where(v >= 0, 1.0, e) / (1.0 + e)


@triton.jit
def step_size(raw_D: tl.tensor, bias_D: tl.tensor, exists: tl.tensor) -> tl.tuple:
    """softplus(raw + bias) and its slope; both zero for a row that does not exist, so the state stays as it is."""
    step_D, slope_D = softplus(raw_D + bias_D)
    return tl.where(exists, step_D, 0.0), tl.where(exists, slope_D, 0.0)


@triton.jit
def advance(h_NxD: tl.tensor, x_D: tl.tensor, step_D: tl.tensor, B_N: tl.tensor, rate_NxD: tl.tensor) -> tl.tensor:
    """The state after a step: exp(step A) h + step x B."""
    return tl.exp2(step_D[None, :] * rate_NxD) * h_NxD + (step_D * x_D)[None, :] * B_N[:, None]
