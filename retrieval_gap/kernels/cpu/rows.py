"""Rows of channels whose number is no multiple of 16: read and written without touching what lies past them."""

from __future__ import annotations

from typing import Any

from retrieval_gap.kernels.cpu.lanes import (
    FLOAT,
    LANES,
    VECTOR,
    ZERO,
    compiled,
    inline,
    load,
    load_scalar,
    prefetch,
    splat,
    store,
    store_scalar,
)


@compiled
def _copy_first(target: int, source: int, count: int) -> None:
    for c in range(count):
        store_scalar(target + c * FLOAT, load_scalar(source + c * FLOAT))


@inline
def load_first(source: int, count: int, staging: int) -> Any:
    """The first `count` floats at an address, at most 16, then zeros. `staging` is a vector's room for the way."""
    if count >= LANES:
        return load(source)
    store(staging, splat(ZERO))
    _copy_first(staging, source, count)
    return load(staging)


@inline
def store_first(target: int, value: Any, count: int, staging: int) -> None:
    """Write the first `count` lanes, at most 16, to an address. `staging` is a vector's room for the way."""
    if count >= LANES:
        store(target, value)
    else:
        store(staging, value)
        _copy_first(target, staging, count)


@compiled
def copy_in(rows: int, source: int, stride: int, steps: int, count: int) -> None:
    """The first `count` channels, at most 16, of each of `steps` rows to rows of 16, zero past them."""
    for t in range(steps):
        prefetch(source + (t + steps) * stride)
        store(rows + t * VECTOR, load_first(source + t * stride, count, rows + t * VECTOR))


@compiled
def copy_out(target: int, stride: int, rows: int, steps: int, count: int) -> None:
    """The way back: rows of 16 to the first `count` channels, at most 16, of each of `steps` rows."""
    for t in range(steps):
        if count >= LANES:
            store(target + t * stride, load(rows + t * VECTOR))
        else:
            _copy_first(target + t * stride, rows + t * VECTOR, count)


@compiled
def columns_in(rows: int, source: int, columns: int, count: int) -> None:
    """Turn `source`, a contiguous (channels, columns), into a row of 16 channels per column; zeros if it is 0."""
    for k in range(columns):
        store(rows + k * VECTOR, splat(ZERO))
        if source != 0:
            for c in range(min(count, LANES)):
                store_scalar(rows + k * VECTOR + c * FLOAT, load_scalar(source + (c * columns + k) * FLOAT))


@compiled
def columns_out(target: int, rows: int, columns: int, count: int) -> None:
    """The way back: a row of 16 channels per column to a contiguous (channels, columns)."""
    for k in range(columns):
        for c in range(min(count, LANES)):
            store_scalar(target + (c * columns + k) * FLOAT, load_scalar(rows + k * VECTOR + c * FLOAT))
