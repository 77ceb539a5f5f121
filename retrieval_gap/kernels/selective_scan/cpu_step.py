"""One decode step of the selective scan on CPU, without gradients.

Legend: B batch, D channels, N states per channel.

Here the 16 lanes of a vector are states of one channel, as they lie in memory: a step is too short to rearrange
its state first.
"""

from __future__ import annotations

from torch import Tensor

from retrieval_gap.kernels.cpu.elementary import LOG2_E, exp2_of_product, silu, softplus
from retrieval_gap.kernels.cpu.jobs import (
    FIRST_FIELD,
    Job,
    Worker,
    field,
    next_item,
    own_scratch,
    tell_autograd_of_writing,
    thread_count,
)
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    VECTOR,
    ZERO,
    compiled,
    fma,
    load,
    load_scalar,
    splat,
    store,
    sums_of_eight,
)
from retrieval_gap.kernels.cpu.rows import load_first, store_first

_BATCH, _CHANNELS, _STATES = range(FIRST_FIELD, FIRST_FIELD + 3)
# Addresses of contiguous tensors; 0 where a tensor was not given.
_A, _D, _BIAS, _STATE, _STATE_OUT, _Y = range(_STATES + 1, _STATES + 7)
# Tensors with axes (batch, ...): an address, then the bytes to the next sequence.
_X, _DELTA, _B, _C, _Z = range(_Y + 1, _Y + 11, 2)
_FIELDS = _Z + 2

# Scratch: 16 channels' step, step x, D x and gate, one vector each; a vector's room for rows that are no multiple of
# 16; 16 channels' products with C. Then B and C, padded.
_STEP, _INPUT, _OUTPUT, _GATE, _STAGING, _TERMS = (VECTOR * i for i in range(6))
_ROWS = _TERMS + LANES * VECTOR


@compiled
def _row_at(job: int, view: int, b: int, first: int) -> int:
    return field(job, view) + b * field(job, view + 1) + first * FLOAT


@compiled
def _open(job: int, b: int, first: int, count: int, scratch: int) -> None:
    """softplus, delta x, D x and the gate of 16 channels."""
    staging, offset = scratch + _STAGING, first * FLOAT
    x = load_first(_row_at(job, _X, b, first), count, staging)
    raw = load_first(_row_at(job, _DELTA, b, first), count, staging)
    if field(job, _BIAS) != 0:
        raw = raw + load_first(field(job, _BIAS) + offset, count, staging)
    step = softplus(raw)
    store(scratch + _STEP, step * splat(LOG2_E))
    store(scratch + _INPUT, step * x)
    store(scratch + _OUTPUT, load_first(field(job, _D) + offset, count, staging) * x)
    if field(job, _Z) != 0:
        store(scratch + _GATE, load_first(_row_at(job, _Z, b, first), count, staging))


@compiled
def _advance(A: int, h: int, out: int, lane: int, states: int, scratch: int, B: int, C: int) -> None:
    """The states of one channel; its products with C go to the channel's vector of terms."""
    staging = scratch + _STAGING
    step = splat(load_scalar(scratch + _STEP + lane * FLOAT))
    u = splat(load_scalar(scratch + _INPUT + lane * FLOAT))
    terms = splat(ZERO)
    for n in range(0, states, LANES):
        count, here = states - n, n * FLOAT
        decay = exp2_of_product(step, load_first(A + here, count, staging))
        state = fma(decay, load_first(h + here, count, staging), u * load(B + here))
        terms = fma(state, load(C + here), terms)
        store_first(out + here, state, count, staging)
    store(scratch + _TERMS + lane * VECTOR, terms)


@compiled
def _step_item(job: int, b: int, scratch: int) -> None:
    """One sequence."""
    channels, states = field(job, _CHANNELS), field(job, _STATES)
    B = scratch + _ROWS
    C = B + (states + LANES - 1) // LANES * VECTOR
    for n in range(0, states, LANES):
        store(B + n * FLOAT, load_first(_row_at(job, _B, b, n), states - n, scratch + _STAGING))
        store(C + n * FLOAT, load_first(_row_at(job, _C, b, n), states - n, scratch + _STAGING))
    for first in range(0, channels, LANES):
        count = min(LANES, channels - first)
        _open(job, b, first, count, scratch)
        A = field(job, _A) + first * states * FLOAT
        offset = (b * channels + first) * states * FLOAT
        h, out = field(job, _STATE) + offset, field(job, _STATE_OUT) + offset
        for lane in range(count):
            row = lane * states * FLOAT
            _advance(A + row, h + row, out + row, lane, states, scratch, B, C)
        # Lanes 8 to 15 repeat lanes 0 to 7: the second half is written over them.
        skip = load(scratch + _OUTPUT)
        low, high = sums_of_eight(scratch + _TERMS), sums_of_eight(scratch + _TERMS + 8 * VECTOR)
        store(scratch + _TERMS, low)
        store(scratch + _TERMS + 8 * FLOAT, high)
        y = load(scratch + _TERMS) + skip
        if field(job, _Z) != 0:
            y = y * silu(load(scratch + _GATE))
        store_first(field(job, _Y) + (b * channels + first) * FLOAT, y, count, scratch + _STAGING)


@Worker
def _step(job: int) -> None:
    scratch = own_scratch(job)
    b = next_item(job)
    while b < field(job, _BATCH):
        _step_item(job, b, scratch)
        b = next_item(job)


def selective_scan_step(
    x_BxD: Tensor,
    delta_BxD: Tensor,
    A_DxN: Tensor,
    B_BxN: Tensor,
    C_BxN: Tensor,
    D_D: Tensor,
    z_BxD: Tensor | None,
    delta_bias_D: Tensor | None,
    state_BxDxN: Tensor,
    reuse_state: bool = False,
) -> tuple[Tensor, Tensor]:
    """The output and the new state, outside autograd. See `retrieval_gap.kernels.selective_scan`."""
    batch, channels, states = state_BxDxN.shape
    y_BxD = x_BxD.new_empty(batch, channels)
    new_state_BxDxN = state_BxDxN
    if reuse_state and state_BxDxN.is_contiguous():
        tell_autograd_of_writing(state_BxDxN)
    else:
        new_state_BxDxN = state_BxDxN.new_empty(batch, channels, states)
    job = Job(_FIELDS)
    job.put(_BATCH, batch, channels, states)
    for index, tensor in ((_A, A_DxN), (_D, D_D), (_BIAS, delta_bias_D), (_STATE, state_BxDxN)):
        job.flat(index, tensor)
    job.flat(_STATE_OUT, new_state_BxDxN)
    job.flat(_Y, y_BxD)
    for index, tensor in ((_X, x_BxD), (_DELTA, delta_BxD), (_B, B_BxN), (_C, C_BxN), (_Z, z_BxD)):
        job.rows(index, tensor)
    padded_bytes = -(-states // LANES) * VECTOR
    # A vector of states takes about 30 cycles.
    job.run(_step, thread_count(batch, batch * channels * (2 * states + 24)), _ROWS + 2 * padded_bytes)
    return y_BxD, new_state_BxDxN
