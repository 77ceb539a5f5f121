"""Sums over the channels of a tile, which are the lanes of a warp: once for all its states, not state by state.

Legend: D channels of a block, N states per channel, both powers of two.

To add up R rows over D lanes one by one takes R log2(D) exchanges between lanes. Here a lane gives away half of its
rows at each exchange and goes on with the other half, to which it adds its partner's: R/2 + R/4 + ... exchanges.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sums_over_channels(a_NxD: tl.tensor, b_NxD: tl.tensor) -> tl.tensor:
    """The sums of the rows of a and of b, as `narrow_lanes` numbers them."""
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
def places_of_sums(SHAPE: tl.tuple) -> tl.tensor:
    """Where each of `sums_over_channels` belongs in a row of a's states, then b's; past its end if nowhere.

    A lane's number tells which halves it kept, so it is the number of its rows; where lanes outnumber rows, several
    have the same.
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
    """Lanes without BIT in their number go on with a, the others with b, each with its partner's share added."""
    d = tl.arange(0, a_RxD.shape[1])[None, :]
    keeps_a = (d & BIT) == 0
    given_RxD = tl.where(keeps_a, b_RxD, a_RxD)
    partner = tl.broadcast_to(d ^ BIT, (a_RxD.shape[0], a_RxD.shape[1]))
    return tl.where(keeps_a, a_RxD, b_RxD) + tl.gather(given_RxD, partner, 1)
