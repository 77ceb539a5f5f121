"""Triton kernels to run the segments of a sequence in parallel, if batch and channels are too few to fill the GPU.

Legend: B batch, L time, D channels of a block, N states per channel, padded. See `triton_parts`.

A segment maps the state it begins with to the one it ends with: end = exp(A total) start + local, where `total` is the
sum of its steps and `local` the end for a start of zero. `summarise` finds both for all segments in parallel; `carry`
then goes through the segments of a sequence in turn. Gradients go the same way, backwards.
"""

from __future__ import annotations

import triton
import triton.language as tl

from retrieval_gap.kernels.selective_scan import triton_parts as parts


@triton.jit(do_not_specialize=parts.SIZES)
def summarise(
    rows: tl.tuple, weights: tl.tuple, grad_y: tl.tuple, local: tl.tensor, total: tl.tensor, batch: tl.tensor,
    length: tl.tensor, channels: tl.tensor, segments: tl.tensor, segment_length: tl.tensor, SHAPE: tl.constexpr,
) -> None:  # fmt: skip
    """What a segment adds to its last state (`local`, (B, segments, N, D)), and the sum of its steps (`total`).

    Given `grad_y`, `local` is instead what the segment adds to the gradient of the state before it.
    """
    STRIP: tl.constexpr = SHAPE.STRIP
    d_D, b, segment, _ = parts.own_part(batch, channels, SHAPE)
    tile_NxD, has_NxD = parts.tile_of(d_D, channels, SHAPE)
    rate_NxD, _, bias_D = parts.load_weights(weights, d_D, channels, SHAPE)
    h_NxD, total_D = tl.zeros((SHAPE.N, SHAPE.BLOCK), tl.float32), tl.zeros((SHAPE.BLOCK,), tl.float32)
    begin = segment * segment_length
    end = tl.minimum(begin + segment_length, length)
    strips = tl.cdiv(end - begin, STRIP)
    for k in range(strips):
        first = begin + k * STRIP
        if grad_y is not None:
            first = begin + (strips - 1 - k) * STRIP
        steps = parts.load_steps(parts.rows_of(rows, b, first, d_D, channels, SHAPE), first, end, SHAPE)
        if grad_y is None:
            for i in tl.static_range(STRIP):
                step_D = parts.step_size(steps[i][1], bias_D, parts.is_step(first + i, end, SHAPE))[0]
                h_NxD = parts.advance(h_NxD, steps[i][0], step_D, steps[i][2], rate_NxD)
                total_D += step_D
        else:
            grads = parts.load_steps((parts.lanes_of(grad_y, b, first, d_D, channels),), first, end, SHAPE)
            for i in tl.static_range(STRIP - 1, -1, -1):
                grad_y_D = grads[i][0]
                if rows.z is not None:
                    grad_y_D *= steps[i][4] * parts.sigmoid(steps[i][4])
                step_D = parts.step_size(steps[i][1], bias_D, parts.is_step(first + i, end, SHAPE))[0]
                h_NxD = (h_NxD + grad_y_D[None, :] * steps[i][3][:, None]) * tl.exp2(step_D[None, :] * rate_NxD)
                total_D += step_D
    own = b * segments + segment
    tl.store(local + own * channels * SHAPE.STATES + tile_NxD, h_NxD, mask=has_NxD)
    tl.store(total + own * channels + d_D, total_D, mask=d_D < channels)


@triton.jit(do_not_specialize=parts.SIZES[:3])
def carry(
    weights: tl.tuple, local: tl.tensor, total: tl.tensor, outer: tl.tensor, inner: tl.tensor, batch: tl.tensor,
    channels: tl.tensor, segments: tl.tensor, SHAPE: tl.constexpr, REVERSE: tl.constexpr,
) -> None:  # fmt: skip
    """The state before each segment (`inner`, (B, segments, N, D)), from that before the first (`outer` or zeros).

    REVERSE: from the last segment to the first; what is carried is a gradient, and a segment "begins" at its end.
    """
    d_D, b, _, _ = parts.own_part(batch, channels, SHAPE)
    tile_NxD, has_NxD = parts.tile_of(d_D, channels, SHAPE)
    rate_NxD, _, _ = parts.load_weights(weights, d_D, channels, SHAPE)
    matrix = channels * SHAPE.STATES
    h_NxD = tl.zeros((SHAPE.N, SHAPE.BLOCK), tl.float32)
    if outer is not None:
        h_NxD = tl.load(outer + b * matrix + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32)
    for k in range(segments):
        own = b * segments + k
        if REVERSE:
            own = b * segments + segments - 1 - k
        tl.store(inner + own * matrix + tile_NxD, h_NxD, mask=has_NxD)
        total_D = parts.load_channels(total + own * channels, d_D, channels)
        h_NxD = tl.exp2(total_D[None, :] * rate_NxD) * h_NxD
        h_NxD += tl.load(local + own * matrix + tile_NxD, mask=has_NxD, other=0.0)
