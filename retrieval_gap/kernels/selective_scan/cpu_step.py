"""One decode step of the selective scan on CPU, without gradients.

Legend: B batch, D channels, N states per channel, both multiples of 16.

Here the 16 lanes of a vector are states of one channel, as they lie in memory: a step is too short to rearrange
its state first.
"""

from __future__ import annotations

from torch import Tensor

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR
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
from retrieval_gap.kernels.cpu.lanes import ZERO, compiled, fma, splat, sums_of_eight
from retrieval_gap.kernels.cpu.memory import load, load_scalar, store
from retrieval_gap.kernels.selective_scan.inputs import ScanInputs

BATCH, CHANNELS, STATES = range(FIRST_FIELD, FIRST_FIELD + 3)
# Addresses of contiguous tensors; 0 where a tensor was not given.
A, D, BIAS, STATE, STATE_OUT = range(STATES + 1, STATES + 6)
# Tensors with axes (batch, ...): an address, then the bytes to the next sequence.
X, DELTA, B, C, Z, Y = range(STATE_OUT + 1, STATE_OUT + 13, 2)
FIELDS = Y + 2

# Scratch: 16 channels' step and step x, one vector each; their products with C.
_STEP, _INPUT, _TERMS = (VECTOR * i for i in range(3))
SCRATCH_BYTES = _TERMS + LANES * VECTOR


@compiled
def _row_at(job: int, view: int, b: int, first: int) -> int:
    return field(job, view) + b * field(job, view + 1) + first * FLOAT


@compiled
def _advance(A_row: int, h: int, out: int, lane: int, states: int, scratch: int, B_row: int, C_row: int) -> None:
    """The states of one channel; its products with C go to the channel's vector of terms."""
    step = splat(load_scalar(scratch + _STEP + lane * FLOAT))
    u = splat(load_scalar(scratch + _INPUT + lane * FLOAT))
    terms = splat(ZERO)
    for n in range(0, states * FLOAT, VECTOR):
        state = fma(exp2_of_product(step, load(A_row + n)), load(h + n), u * load(B_row + n))
        terms = fma(state, load(C_row + n), terms)
        store(out + n, state)
    store(scratch + _TERMS + lane * VECTOR, terms)


@compiled
def step_item(job: int, b: int, scratch: int) -> None:
    """One sequence."""
    channels, states = field(job, CHANNELS), field(job, STATES)
    B_row, C_row = _row_at(job, B, b, 0), _row_at(job, C, b, 0)
    for first in range(0, channels, LANES):
        x, raw = load(_row_at(job, X, b, first)), load(_row_at(job, DELTA, b, first))
        if field(job, BIAS) != 0:
            raw = raw + load(field(job, BIAS) + first * FLOAT)
        step = softplus(raw)
        store(scratch + _STEP, step * splat(LOG2_E))
        store(scratch + _INPUT, step * x)
        A_rows, offset = field(job, A) + first * states * FLOAT, (b * channels + first) * states * FLOAT
        h, out = field(job, STATE) + offset, field(job, STATE_OUT) + offset
        for lane in range(LANES):
            row = lane * states * FLOAT
            _advance(A_rows + row, h + row, out + row, lane, states, scratch, B_row, C_row)
        # Lanes 8 to 15 repeat lanes 0 to 7: the second half is written over them.
        low, high = sums_of_eight(scratch + _TERMS), sums_of_eight(scratch + _TERMS + 8 * VECTOR)
        store(scratch + _TERMS, low)
        store(scratch + _TERMS + 8 * FLOAT, high)
        y = fma(load(field(job, D) + first * FLOAT), x, load(scratch + _TERMS))
        if field(job, Z) != 0:
            y = y * silu(load(_row_at(job, Z, b, first)))
        store(_row_at(job, Y, b, first), y)


@Worker
def _step(job: int) -> None:
    scratch = own_scratch(job)
    b = next_item(job)
    while b < field(job, BATCH):
        step_item(job, b, scratch)
        b = next_item(job)


def selective_scan_step(inputs: ScanInputs, reuse_state: bool) -> tuple[Tensor, Tensor]:
    """The output and the new state, outside autograd. See `retrieval_gap.kernels.selective_scan`."""
    state_BxDxN = inputs.state
    assert state_BxDxN is not None
    batch, channels, states = state_BxDxN.shape
    y_BxD, new_state_BxDxN = inputs.x.new_empty(batch, channels), state_BxDxN
    if reuse_state and state_BxDxN.is_contiguous():
        tell_autograd_of_writing(state_BxDxN)
    else:
        new_state_BxDxN = state_BxDxN.new_empty(batch, channels, states)
    job = Job(FIELDS)
    job.put(BATCH, batch, channels, states)
    for index, tensor in ((A, inputs.A), (D, inputs.D), (BIAS, inputs.delta_bias), (STATE, state_BxDxN)):
        job.flat(index, tensor)
    job.flat(STATE_OUT, new_state_BxDxN)
    timed = ((X, inputs.x), (DELTA, inputs.delta), (B, inputs.B), (C, inputs.C), (Z, inputs.z), (Y, y_BxD))
    for index, tensor in timed:
        job.rows(index, tensor)
    # A vector of states takes about 30 cycles.
    job.run(_step, thread_count(batch, batch * channels * (2 * states + 24)), SCRATCH_BYTES)
    return y_BxD, new_state_BxDxN
