"""The kernels' exp, softplus and sigmoid are those of numpy, to a few units in the last place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from retrieval_gap.kernels.cpu import FLOAT, LANES, VECTOR, elementary
from retrieval_gap.kernels.cpu.jobs import FIRST_FIELD, Job, Worker, field, next_item
from retrieval_gap.kernels.cpu.lanes import splat, sums_of_eight, total
from retrieval_gap.kernels.cpu.memory import load, store

_IN, _OUT, _COUNT = range(FIRST_FIELD, FIRST_FIELD + 3)


def _apply(name: str, function: Callable[[Any], Any]) -> Worker:
    def run(job: int) -> None:
        block = next_item(job)
        while block * LANES < field(job, _COUNT):
            here = block * VECTOR
            store(field(job, _OUT) + here, function(load(field(job, _IN) + here)))
            block = next_item(job)

    run.__name__ = run.__qualname__ = f"run_{name}"  # a name of its own: see test_compiled_names.py
    return Worker(run)


@pytest.fixture(scope="module")
def functions() -> dict[str, Worker]:
    exp2_of_product = elementary.exp2_of_product
    half = np.float32(0.5)
    named = {name: getattr(elementary, name) for name in ("exp", "softplus", "sigmoid", "silu")}
    named["exp2_of_half"] = elementary.inline(lambda x: exp2_of_product(x, splat(half)))
    return {name: _apply(name, function) for name, function in named.items()}


def _evaluate(worker: Worker, x: np.ndarray) -> np.ndarray:
    source = torch.from_numpy(np.pad(x.astype(np.float32), (0, -len(x) % LANES)))
    target, job = torch.full_like(source, torch.nan), Job(_COUNT + 1)
    job.flats({_IN: source})
    job.flats({_OUT: target})
    job.put(_COUNT, len(x))
    job.run(worker, 1, VECTOR)
    return target.numpy()[: len(x)]


def _units_off(result: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(result - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)))


@pytest.mark.parametrize(
    ("name", "exact", "low", "high", "units"),
    [
        ("exp", np.exp, -87.3, 88.0, 2.0),
        ("exp2_of_half", lambda x: np.exp2(x / 2), -250.0, 250.0, 3.0),
        ("softplus", lambda x: np.logaddexp(0, x), -80.0, 80.0, 4.0),
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), -80.0, 80.0, 4.0),
        ("silu", lambda x: x / (1 + np.exp(-x)), -80.0, 80.0, 4.0),
    ],
)
def test_results_are_within_a_few_units_in_the_last_place(
    functions: dict[str, Worker], name: str, exact: Callable, low: float, high: float, units: float
) -> None:
    x = np.linspace(low, high, 200_003).astype(np.float32)
    assert _units_off(_evaluate(functions[name], x), exact(x.astype(np.float64))) <= units


def test_exp_far_below_zero_is_nearly_zero(functions: dict[str, Worker]) -> None:
    x = np.linspace(-100, -87.3, 10_001)
    assert np.all(np.abs(_evaluate(functions["exp"], x) - np.exp(x)) < 2e-38)


def test_extreme_arguments_give_the_limits(functions: dict[str, Worker]) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30])
    for name, wanted in {
        "exp": [np.nan, np.inf, 0, 1, np.inf, 0],
        "exp2_of_half": [np.nan, np.inf, 0, 1, np.inf, 0],
        "softplus": [np.nan, np.inf, 0, np.log(2), 1e30, 0],
        "sigmoid": [np.nan, 1, 0, 0.5, 1, 0],
    }.items():
        np.testing.assert_allclose(_evaluate(functions[name], x), wanted, rtol=1e-6, err_msg=name)


def test_nan_of_any_payload_stays_nan(functions: dict[str, Worker]) -> None:
    x = (np.uint32(0x7F800000) + np.arange(1, 2**23, 4_099, dtype=np.uint32)).view(np.float32)
    for name, worker in functions.items():
        assert np.isnan(_evaluate(worker, x)).all(), name
        assert np.isnan(_evaluate(worker, -x)).all(), name


def test_sums_over_lanes_are_those_of_torch() -> None:
    @Worker
    def run(job: int) -> None:
        store(field(job, _OUT), sums_of_eight(field(job, _IN)))
        store(field(job, _OUT) + VECTOR, splat(total(load(field(job, _IN) + 3 * VECTOR))))

    x, y, job = torch.randn(8, LANES), torch.empty(2, LANES), Job(_COUNT + 1)
    job.flats({_IN: x})
    job.flats({_OUT: y})
    job.run(run, 1)
    assert FLOAT * LANES == VECTOR
    torch.testing.assert_close(y[0, :8], x.sum(1))
    torch.testing.assert_close(y[1], x[3].sum().expand(LANES))
