"""Triton kernels that let the segments of a sequence run side by side, where batch and channels alone are too few.

Legend: B batch, L time, D channels of a block, N states per channel, padded. See `triton_parts`.

A segment maps the state it begins with to the one it ends with: end = exp(A total) start + local, where `total` is the
sum of its steps and `local` the end for a start of zero. A summary finds both for every segment at once; `carry` then
goes through the segments of a sequence in turn. Gradients go the same way, backwards.
"""

from __future__ import annotations

import triton
import triton.language as tl

from retrieval_gap.kernels.selective_scan.triton_parts import (
    SIZES,
    advance,
    is_step,
    lanes_of,
    load_channels,
    load_steps,
    load_weights,
    own_part,
    rows_of,
    sigmoid,
    step_size,
    tile_of,
)


@triton.jit(do_not_specialize=SIZES)
def summarise(
    rows: tl.tuple,
    weights: tl.tuple,
    grad_y: tl.tuple,
    local: tl.tensor,
    total: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    channels: tl.tensor,
    segments: tl.tensor,
    segment_length: tl.tensor,
    STATES: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    UNIT: tl.constexpr,
    STRIP: tl.constexpr,
    WHOLE: tl.constexpr,
) -> None:
    """What a segment adds to its last state (`local`, (B, segments, D, N)), and the sum of its steps (`total`).

    Where `grad_y` is given: what it adds to the gradient of its first state.
    """
    d_D, b, segment, _ = own_part(batch, channels, BLOCK)
    tile_NxD, has_NxD = tile_of(d_D, channels, STATES, N)
    rate_NxD, _, bias_D = load_weights(weights, d_D, channels, STATES, N)
    h_NxD, total_D = tl.zeros((N, BLOCK), tl.float32), tl.zeros((BLOCK,), tl.float32)
    begin = segment * segment_length
    end = tl.minimum(begin + segment_length, length)
    strips = tl.cdiv(end - begin, STRIP)
    for k in range(strips):
        first = begin + k * STRIP
        if grad_y is not None:
            first = begin + (strips - 1 - k) * STRIP
        steps = load_steps(rows_of(rows, b, first, d_D, channels, STATES, N, UNIT), first, end, STRIP, WHOLE)
        if grad_y is None:
            for i in tl.static_range(STRIP):
                step_D = step_size(steps[i][1], bias_D, is_step(first + i, end, WHOLE))[0]
                h_NxD = advance(h_NxD, steps[i][0], step_D, steps[i][2], rate_NxD)
                total_D += step_D
        else:
            grads = load_steps((lanes_of(grad_y, b, first, d_D, channels),), first, end, STRIP, WHOLE)
            for i in tl.static_range(STRIP - 1, -1, -1):
                grad_y_D = grads[i][0]
                if rows.z is not None:
                    grad_y_D *= steps[i][4] * sigmoid(steps[i][4])
                step_D = step_size(steps[i][1], bias_D, is_step(first + i, end, WHOLE))[0]
                h_NxD = (h_NxD + grad_y_D[None, :] * steps[i][3][:, None]) * tl.exp2(step_D[None, :] * rate_NxD)
                total_D += step_D
    own = b * segments + segment
    tl.store(local + own * channels * STATES + tile_NxD, h_NxD, mask=has_NxD)
    tl.store(total + own * channels + d_D, total_D, mask=d_D < channels)


@triton.jit(do_not_specialize=SIZES[:3])
def carry(
    weights: tl.tuple,
    local: tl.tensor,
    total: tl.tensor,
    outer: tl.tensor,
    inner: tl.tensor,
    batch: tl.tensor,
    channels: tl.tensor,
    segments: tl.tensor,
    STATES: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    REVERSE: tl.constexpr,
) -> None:
    """What each segment begins with (`inner`, (B, segments, D, N)), from what the first begins with (`outer` or zeros).

    REVERSE: from the last segment to the first; what is carried is a gradient, and a segment "begins" at its end.
    """
    d_D, b, _, _ = own_part(batch, channels, BLOCK)
    tile_NxD, has_NxD = tile_of(d_D, channels, STATES, N)
    rate_NxD, _, _ = load_weights(weights, d_D, channels, STATES, N)
    matrix = channels * STATES
    h_NxD = tl.zeros((N, BLOCK), tl.float32)
    if outer is not None:
        h_NxD = tl.load(outer + b * matrix + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32)
    for k in range(segments):
        own = b * segments + k
        if REVERSE:
            own = b * segments + segments - 1 - k
        tl.store(inner + own * matrix + tile_NxD, h_NxD, mask=has_NxD)
        total_D = load_channels(total + own * channels, d_D, channels)
        h_NxD = tl.exp2(total_D[None, :] * rate_NxD) * h_NxD
        h_NxD += tl.load(local + own * matrix + tile_NxD, mask=has_NxD, other=0.0)
