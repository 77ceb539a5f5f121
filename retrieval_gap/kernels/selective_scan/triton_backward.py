"""The backward Triton kernel of the scan.

Legend: B batch, L time, D channels of a block, N states per channel, padded. See `triton_parts`.

A program walks its segment's chunks from the last to the first: it recomputes the states of a chunk from the one that
the forward kernel saved, keeps them in registers, and goes back through them. Sums over blocks of channels or over
sequences are left to the caller, as one partial sum per program, so that they are always added in the same order.

Sums over the channels of a tile, which are the lanes of a warp, are computed together for all its states. Adding up R
rows over D lanes one by one takes R log2(D) exchanges between lanes. Here, at each exchange, a lane gives away half of
its rows and adds its partner's to the half it keeps: R/2 + R/4 + ... exchanges.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from retrieval_gap.kernels.selective_scan import triton_parts as parts


class Gradients(NamedTuple):
    """What the backward kernel writes: views of the gradients of x, delta and z; and partial sums in float32.

    C_and_B: view of (blocks x B, L, 2 x STATES), a row for C beside one for B.  A, D, bias: (B x segments, ...).
    """

    x: Any
    delta: Any
    z: Any
    C_and_B: Any
    A: Any
    D: Any
    bias: Any


@triton.jit(do_not_specialize=parts.SIZES)
def scan_backward(
    rows: tl.tuple, weights: tl.tuple, saved: tl.tensor, grad_y: tl.tuple, grad_ends: tl.tensor, grads: tl.tuple,
    grad_start: tl.tensor, batch: tl.tensor, channels: tl.tensor, segments: tl.tensor, length: tl.tensor,
    segment_length: tl.tensor, SHAPE: tl.constexpr,
) -> None:  # fmt: skip
    """Gradients of a segment's rows, its parts of those of the weights, and that of the state it begins with.

    grad_y: `View`; grads: `Gradients`.  grad_ends (B, segments, N, D): the gradients of the states that the segments
    end with; None: zeros.  grad_start (B, N, D), or None.
    """
    PART: tl.constexpr = SHAPE.STRIP
    d_D, b, segment, block = parts.own_part(batch, channels, SHAPE)
    tile_NxD, has_NxD = parts.tile_of(d_D, channels, SHAPE)
    shared = parts.load_weights(weights, d_D, channels, SHAPE)
    matrix, own = channels * SHAPE.STATES, b * segments + segment
    places = places_of_sums(SHAPE)
    g_NxD = tl.zeros((SHAPE.N, SHAPE.BLOCK), tl.float32)
    if grad_ends is not None:
        g_NxD = tl.load(grad_ends + own * matrix + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32)
    grad_A_NxD, grad_D_D = tl.zeros((SHAPE.N, SHAPE.BLOCK), tl.float32), tl.zeros((SHAPE.BLOCK,), tl.float32)
    grad_bias_D = tl.zeros((SHAPE.BLOCK,), tl.float32)
    begin = segment * segment_length
    end = tl.minimum(begin + segment_length, length)
    count = tl.cdiv(end - begin, PART)
    for k in range(count):
        first = begin + (count - 1 - k) * PART
        chunk = first // SHAPE.CHUNK
        h_NxD = tl.load(saved + (b * tl.cdiv(length, SHAPE.CHUNK) + chunk) * matrix + tile_NxD, mask=has_NxD, other=0.0)
        for earlier in range(chunk * SHAPE.CHUNK, first, PART):
            before = parts.rows_of(rows, b, earlier, d_D, channels, SHAPE)
            h_NxD = _recompute(h_NxD, before, shared, earlier, end, SHAPE)[PART][0]
        inputs = parts.rows_of(rows, b, first, d_D, channels, SHAPE)
        above = parts.lanes_of(grad_y, b, first, d_D, channels)
        outputs: tl.tuple = (
            parts.lanes_of(grads.x, b, first, d_D, channels),
            parts.lanes_of(grads.delta, b, first, d_D, channels),
        )
        outputs += (parts.lanes_of(grads.C_and_B, block * batch + b, first, places, 2 * SHAPE.STATES),)
        if rows.z is not None:
            outputs += (parts.lanes_of(grads.z, b, first, d_D, channels),)
        walked = _recompute(h_NxD, inputs, shared, first, end, SHAPE)
        for i in tl.static_range(PART - 1, -1, -1):
            exists = parts.is_step(first + i, end, SHAPE)
            g_NxD, of_A_NxD, of_D_D, of_bias_D = _step_back(
                g_NxD, walked[i][0], walked[i + 1], inputs, above, outputs, shared, i, exists
            )
            grad_A_NxD, grad_D_D, grad_bias_D = grad_A_NxD + of_A_NxD, grad_D_D + of_D_D, grad_bias_D + of_bias_D
    tl.store(grads.A + own * matrix + tile_NxD, grad_A_NxD, mask=has_NxD)
    tl.store(grads.D + own * channels + d_D, grad_D_D, mask=d_D < channels)
    tl.store(grads.bias + own * channels + d_D, grad_bias_D, mask=d_D < channels)
    if grad_start is not None:
        tl.store(grad_start + b * matrix + tile_NxD, g_NxD, mask=has_NxD & (segment == 0))


@triton.jit
def _recompute(
    h_NxD: tl.tensor, inputs: tl.tuple, shared: tl.tuple, first: tl.tensor, end: tl.tensor, SHAPE: tl.constexpr
) -> tl.tuple:
    """(h, x, step, slope) before a part and after each of its steps."""
    PART: tl.constexpr = SHAPE.STRIP
    steps = parts.load_steps(inputs, first, end, SHAPE)
    walked: tl.tuple = ((h_NxD, steps[0][0], steps[0][0], steps[0][0]),)
    for i in tl.static_range(PART):
        x_D = steps[i][0]
        step_D, slope_D = parts.step_size(steps[i][1], shared[2], parts.is_step(first + i, end, SHAPE))
        h_NxD = parts.advance(h_NxD, x_D, step_D, steps[i][2], shared[0])
        walked += ((h_NxD, x_D, step_D, slope_D),)
    return walked


@triton.jit
def _step_back(
    g_NxD: tl.tensor, before_NxD: tl.tensor, walked: tl.tuple, inputs: tl.tuple, above: tl.tuple, outputs: tl.tuple,
    shared: tl.tuple, i: tl.constexpr, exists: tl.tensor,
) -> tl.tuple:  # fmt: skip
    """Go from g, the gradient of the state after step i through later steps alone, to that of the state before it.

    Writes the gradients of the step's rows; returns g, and what the step adds to the gradients of A, D and bias.
    """
    h_NxD, x_D, step_D, slope_D = walked
    rate_NxD, skip_D, _ = shared
    B_N, C_N, grad_y_D = (
        parts.load_row(inputs[2], i, exists),
        parts.load_row(inputs[3], i, exists),
        parts.load_row(above, i, exists),
    )
    if len(inputs) == 5:
        z_D = parts.load_row(inputs[4], i, exists)
        open_D = parts.sigmoid(z_D)
        ungated_D = tl.sum(h_NxD * C_N[:, None], 0) + skip_D * x_D
        parts.store_row(outputs[3], i, exists, grad_y_D * ungated_D * open_D * (1.0 + z_D * (1.0 - open_D)))
        grad_y_D *= z_D * open_D
    g_NxD += grad_y_D[None, :] * C_N[:, None]
    parts.store_row(
        outputs[2], i, exists, sums_over_channels(grad_y_D[None, :] * h_NxD, g_NxD * (step_D * x_D)[None, :])
    )
    grad_u_D = tl.sum(g_NxD * B_N[:, None], 0)
    parts.store_row(outputs[0], i, exists, grad_u_D * step_D + grad_y_D * skip_D)
    g_NxD *= tl.exp2(step_D[None, :] * rate_NxD)
    of_rate_NxD = g_NxD * before_NxD
    of_bias_D = (grad_u_D * x_D + parts.LN_2 * tl.sum(of_rate_NxD * rate_NxD, 0)) * slope_D
    parts.store_row(outputs[1], i, exists, of_bias_D)
    return g_NxD, of_rate_NxD * step_D[None, :], grad_y_D * x_D, of_bias_D


@triton.jit
def sums_over_channels(a_NxD: tl.tensor, b_NxD: tl.tensor) -> tl.tensor:
    """The sums of the rows of a and of b, in the order that `places_of_sums` gives."""
    BLOCK: tl.constexpr = a_NxD.shape[1]
    rows_RxD = _exchange(a_NxD, b_NxD, BLOCK // 2)
    for k in tl.static_range(2, 6):
        if BLOCK >> k > 0:
            if rows_RxD.shape[0] > 1:
                halves = _halves(rows_RxD)
                rows_RxD = _exchange(halves[0], halves[1], BLOCK >> k)
            else:
                rows_RxD = _exchange(rows_RxD, rows_RxD, BLOCK >> k)
    return rows_RxD


@triton.jit
def places_of_sums(SHAPE: tl.constexpr) -> tl.tensor:
    """The index of each of `sums_over_channels` in a row of a's states, then b's; past its end if it has none.

    A lane's number determines which halves it kept, and so the number of its rows; if lanes outnumber rows, several
    hold the same sum.
    """
    STATES: tl.constexpr = SHAPE.STATES
    N: tl.constexpr = SHAPE.N
    BLOCK: tl.constexpr = SHAPE.BLOCK
    LEFT: tl.constexpr = max(1, 2 * N // BLOCK)
    SHARING: tl.constexpr = max(1, BLOCK // (2 * N))
    d = tl.arange(0, BLOCK)[None, :]
    row = d // SHARING * LEFT + tl.arange(0, LEFT)[:, None]
    return tl.where((row % N < STATES) & (d % SHARING == 0), row // N * STATES + row % N, 2 * STATES)


@triton.jit
def _halves(rows_RxD: tl.tensor) -> tl.tuple:
    return tl.split(tl.permute(tl.reshape(rows_RxD, (2, rows_RxD.shape[0] // 2, rows_RxD.shape[1])), (1, 2, 0)))


@triton.jit
def _exchange(a_RxD: tl.tensor, b_RxD: tl.tensor, BIT: tl.constexpr) -> tl.tensor:
    """Lanes without BIT in their number keep a, the others keep b; each adds its partner's share."""
    d = tl.arange(0, a_RxD.shape[1])[None, :]
    keeps_a = (d & BIT) == 0
    given_RxD = tl.where(keeps_a, b_RxD, a_RxD)
    partner = tl.broadcast_to(d ^ BIT, (a_RxD.shape[0], a_RxD.shape[1]))
    return tl.where(keeps_a, a_RxD, b_RxD) + tl.gather(given_RxD, partner, 1)
