"""The forward Triton kernel of the scan.

Legend: B batch, L time, D channels of a block, N states per channel, padded. See `triton_parts`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from retrieval_gap.kernels.selective_scan.triton_parts import (
    SIZES,
    advance,
    all_moved,
    is_step,
    lanes_of,
    load_step,
    load_steps,
    load_weights,
    moved,
    own_part,
    rows_of,
    sigmoid,
    step_size,
    store_row,
    tile_of,
)


@triton.jit(do_not_specialize=SIZES)
def scan_forward(
    rows: tl.tuple,
    weights: tl.tuple,
    starts: tl.tensor,
    y: tl.tuple,
    final: tl.tensor,
    saved: tl.tensor,
    batch: tl.tensor,
    length: tl.tensor,
    channels: tl.tensor,
    segments: tl.tensor,
    segment_length: tl.tensor,
    STATES: tl.constexpr,
    N: tl.constexpr,
    BLOCK: tl.constexpr,
    UNIT: tl.constexpr,
    CHUNK: tl.constexpr,
    STRIP: tl.constexpr,
    WHOLE: tl.constexpr,
) -> None:
    """Outputs of a segment, the state before each chunk of it, and the sequence's last state.

    rows: `Rows`; weights: `Weights`; y: `View`.  starts (B, segments, D, N): what the segments begin with; None: zeros.
    final (B, D, N).  saved (B, chunks, D, N), or None.  STRIP steps are loaded while those before them are computed;
    in a sequence of WHOLE strips the last once more, since nothing keeps from reading what lies behind it.
    """
    d_D, b, segment, _ = own_part(batch, channels, BLOCK)
    tile_NxD, has_NxD = tile_of(d_D, channels, STATES, N)
    rate_NxD, skip_D, bias_D = load_weights(weights, d_D, channels, STATES, N)
    matrix = channels * STATES
    h_NxD = tl.zeros((N, BLOCK), tl.float32)
    if starts is not None:
        h_NxD = tl.load(starts + (b * segments + segment) * matrix + tile_NxD, mask=has_NxD, other=0.0).to(tl.float32)
    begin = segment * segment_length
    end = tl.minimum(begin + segment_length, length)
    inputs = rows_of(rows, b, begin, d_D, channels, STATES, N, UNIT)
    outputs = lanes_of(y, b, begin, d_D, channels)
    strip = load_steps(inputs, begin, end, STRIP, WHOLE)
    for first in range(begin, end, STRIP):
        if saved is not None:
            chunk = b * tl.cdiv(length, CHUNK) + first // CHUNK
            tl.store(saved + chunk * matrix + tile_NxD, h_NxD, mask=has_NxD & (first % CHUNK == 0))
        inputs = all_moved(inputs, tl.where((first + STRIP < end) | (not WHOLE), STRIP, 0))
        ahead: tl.tuple = ()
        for i in tl.static_range(STRIP):
            x_D, raw_D, B_N, C_N = strip[i][0], strip[i][1], strip[i][2], strip[i][3]
            exists = is_step(first + i, end, WHOLE)
            h_NxD = advance(h_NxD, x_D, step_size(raw_D, bias_D, exists)[0], B_N, rate_NxD)
            y_D = tl.sum(h_NxD * C_N[:, None], 0) + skip_D * x_D
            if rows.z is not None:
                y_D *= strip[i][4] * sigmoid(strip[i][4])
            store_row(outputs, i, exists, y_D)
            ahead += (load_step(inputs, i, is_step(first + STRIP + i, end, WHOLE)),)
        strip, outputs = ahead, moved(outputs, STRIP)
    tl.store(final + b * matrix + tile_NxD, h_NxD, mask=has_NxD & (segment == segments - 1))
