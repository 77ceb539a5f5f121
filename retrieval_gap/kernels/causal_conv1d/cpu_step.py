"""One decode step of the causal convolution of width 4 on CPU, without gradients: 16 channels in a vector.

Legend: B batch, D channels, K = 4 the width of the filter.

A state has a channel's three inputs side by side. Shuffles bring those of 16 channels into three vectors and back;
channels past the last 16 go number by number.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from torch import Tensor

from retrieval_gap.kernels.causal_conv1d.cpu_kernels import BEFORE, WIDTH, filtered
from retrieval_gap.kernels.cpu.elementary import sigmoid
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Job, Worker, field, next_item, own_scratch, thread_count
from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    VECTOR,
    _at,
    _intrinsic,
    _long,
    _shuffle,
    _vector,
    compiled,
    load,
    store,
)
from retrieval_gap.kernels.cpu.rows import columns_in, columns_out, load_first, store_first

_BATCH, _CHANNELS, _WITH_SILU = range(FIRST_FIELD, FIRST_FIELD + 3)
# Addresses of contiguous tensors; then x with axes (batch, channels): an address, and the bytes to the next sequence.
_WEIGHT, _BIAS, _STATE, _STATE_OUT, _Y, _X = range(_WITH_SILU + 1, _WITH_SILU + 7)
_FIELDS = _X + 2

# Scratch: a vector's room for rows that are no multiple of 16, four inputs of 16 channels; then the filter's taps and
# bias, five vectors for each 16 channels.
_WINDOW, _FILTER = VECTOR, (1 + WIDTH) * VECTOR
_FILTER_EACH = (WIDTH + 1) * VECTOR


def _three_vectors(builder: Any, address: Any) -> list[Any]:
    places = (builder.add(address, ir.Constant(_long, i * VECTOR)) for i in range(BEFORE))
    return [builder.load(_at(builder, place, _vector), align=FLOAT) for place in places]


def _pick(builder: Any, vectors: list[Any], lane_of: list[int]) -> Any:
    """A vector of some of the 48 lanes of three, by two shuffles."""
    two = _shuffle(builder, vectors[0], vectors[1], [lane if lane < 2 * LANES else 0 for lane in lane_of])
    rest = [LANES + lane - 2 * LANES if lane >= 2 * LANES else i for i, lane in enumerate(lane_of)]
    return _shuffle(builder, two, vectors[2], rest)


def _store_three(builder: Any, address: Any, vectors: list[Any]) -> None:
    for i, vector in enumerate(vectors):
        place = builder.add(address, ir.Constant(_long, i * VECTOR))
        builder.store(vector, _at(builder, place, _vector), align=FLOAT)


@_intrinsic(types.void(types.int64, types.int64))
def _deinterleave(builder: Any, args: Any) -> None:
    """(target, source): 16 threes of numbers to a vector of firsts, one of seconds, one of thirds."""
    vectors = _three_vectors(builder, args[1])
    picks = [[BEFORE * lane + k for lane in range(LANES)] for k in range(BEFORE)]
    _store_three(builder, args[0], [_pick(builder, vectors, lanes) for lanes in picks])


@_intrinsic(types.void(types.int64, types.int64))
def _interleave(builder: Any, args: Any) -> None:
    """(target, source): the way back."""
    vectors = _three_vectors(builder, args[1])
    picks = [[i % BEFORE * LANES + i // BEFORE for i in range(v * LANES, (v + 1) * LANES)] for v in range(BEFORE)]
    _store_three(builder, args[0], [_pick(builder, vectors, lanes) for lanes in picks])


@compiled
def _step_block(job: int, b: int, first: int, count: int, scratch: int) -> None:
    """The first `count` of 16 channels of one sequence."""
    window, taps = scratch + _WINDOW, scratch + _FILTER + first // LANES * _FILTER_EACH
    offset = (b * field(job, _CHANNELS) + first) * FLOAT
    state, state_out = field(job, _STATE) + BEFORE * offset, field(job, _STATE_OUT) + BEFORE * offset
    if count == LANES:
        _deinterleave(window, state)
    else:
        columns_in(window, state, BEFORE, count)
    x = field(job, _X) + b * field(job, _X + 1) + first * FLOAT
    store(window + BEFORE * VECTOR, load_first(x, count, scratch))
    weights = load(taps), load(taps + VECTOR), load(taps + 2 * VECTOR), load(taps + 3 * VECTOR)
    y = filtered(window, weights, load(taps + WIDTH * VECTOR))
    if field(job, _WITH_SILU) != 0:
        y = y * sigmoid(y)
    store_first(field(job, _Y) + offset, y, count, scratch)
    if count == LANES:
        _interleave(state_out, window + VECTOR)
    else:
        columns_out(state_out, window + VECTOR, BEFORE, count)


@Worker
def _step(job: int) -> None:
    """Take sequences until none is left."""
    scratch, channels = own_scratch(job), field(job, _CHANNELS)
    for first in range(0, channels, LANES):
        taps, count = scratch + _FILTER + first // LANES * _FILTER_EACH, min(LANES, channels - first)
        columns_in(taps, field(job, _WEIGHT) + first * WIDTH * FLOAT, WIDTH, count)
        columns_in(taps + WIDTH * VECTOR, field(job, _BIAS) + first * FLOAT, 1, count)
    b = next_item(job)
    while b < field(job, _BATCH):
        for first in range(0, channels, LANES):
            _step_block(job, b, first, min(LANES, channels - first), scratch)
        b = next_item(job)


def causal_conv1d_step(
    x_BxD: Tensor, weight_DxK: Tensor, bias_D: Tensor, state_BxDxK: Tensor, with_silu: bool
) -> tuple[Tensor, Tensor]:
    """The output and the new state, outside autograd. See `retrieval_gap.kernels.causal_conv1d`."""
    (batch, channels), y_BxD = x_BxD.shape, x_BxD.new_empty(x_BxD.shape)
    new_state_BxDxK = x_BxD.new_empty(batch, channels, BEFORE)
    job = Job(_FIELDS)
    job.put(_BATCH, batch, channels, int(with_silu))
    for index, tensor in ((_WEIGHT, weight_DxK), (_BIAS, bias_D), (_STATE, state_BxDxK)):
        job.flat(index, tensor)
    job.flat(_STATE_OUT, new_state_BxDxK)
    job.flat(_Y, y_BxD)
    job.rows(_X, x_BxD)
    blocks = -(-channels // LANES)
    job.run(_step, thread_count(batch, 50 * batch * blocks), _FILTER + blocks * _FILTER_EACH)
    return y_BxD, new_state_BxDxK
