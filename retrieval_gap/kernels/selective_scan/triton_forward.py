"""The forward Triton kernel of the scan.

Legend: B batch, L time, D channels of a block, N states per channel, padded. See `triton_parts`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from retrieval_gap.kernels.selective_scan import triton_parts as parts


@triton.jit(do_not_specialize=parts.SIZES)
def scan_forward(
    rows: tl.tuple, weights: tl.tuple, starts: tl.tensor, y: tl.tuple, final: tl.tensor, saved: tl.tensor,
    batch: tl.tensor, length: tl.tensor, channels: tl.tensor, segments: tl.tensor, segment_length: tl.tensor,
    SHAPE: tl.constexpr,
) -> None:  # fmt: skip
    """Outputs of a segment, the state before each chunk of it, and the sequence's last state.

    rows: `Rows`; weights: `Weights`; y: `View`.  starts (B, segments, N, D): the states before segments; None: zeros.
    final (B, N, D).  saved (B, chunks, N, D), or None.  A strip of steps is loaded while the one before is computed. In
    a sequence of whole strips, the last strip is loaded twice, since no mask prevents reading past its end.
    """
    STRIP: tl.constexpr = SHAPE.STRIP
    d_D, b, segment, _ = parts.own_part(batch, channels, SHAPE)
    tile_NxD, has_NxD = parts.tile_of(d_D, channels, SHAPE)
    rate_NxD, skip_D, bias_D = parts.load_weights(weights, d_D, channels, SHAPE)
    matrix = channels * SHAPE.STATES
    h_NxD = tl.zeros((SHAPE.N, SHAPE.BLOCK), tl.float32)
    if starts is not None:
        h_NxD = tl.load(starts + (b * segments + segment) * matrix + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32)
    begin = segment * segment_length
    end = tl.minimum(begin + segment_length, length)
    inputs = parts.rows_of(rows, b, begin, d_D, channels, SHAPE)
    outputs = parts.lanes_of(y, b, begin, d_D, channels)
    strip = parts.load_steps(inputs, begin, end, SHAPE)
    for first in range(begin, end, STRIP):
        if saved is not None:
            chunk = b * tl.cdiv(length, SHAPE.CHUNK) + first // SHAPE.CHUNK
            tl.store(saved + chunk * matrix + tile_NxD, h_NxD, mask=has_NxD & (first % SHAPE.CHUNK == 0))
        inputs = parts.all_moved(inputs, tl.where((first + STRIP < end) | (not SHAPE.WHOLE), STRIP, 0))
        ahead: tl.tuple = ()
        for i in tl.static_range(STRIP):
            x_D, raw_D, B_N, C_N = strip[i][0], strip[i][1], strip[i][2], strip[i][3]
            exists = parts.is_step(first + i, end, SHAPE)
            h_NxD = parts.advance(h_NxD, x_D, parts.step_size(raw_D, bias_D, exists)[0], B_N, rate_NxD)
            y_D = tl.sum(h_NxD * C_N[:, None], 0) + skip_D * x_D
            if rows.z is not None:
                y_D *= strip[i][4] * parts.sigmoid(strip[i][4])
            parts.store_row(outputs, i, exists, y_D)
            ahead += (parts.load_step(inputs, i, parts.is_step(first + STRIP + i, end, SHAPE)),)
        strip, outputs = ahead, parts.moved(outputs, STRIP)
    tl.store(final + b * matrix + tile_NxD, h_NxD, mask=has_NxD & (segment == segments - 1))
