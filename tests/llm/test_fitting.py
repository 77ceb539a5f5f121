"""A batch that does not fit into memory is halved; every item is run once, in order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.llm.fitting import run_in_memory
from retrieval_gap.machine.errors import RunError


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20), memory=st.integers(9, 40))
def test_every_item_is_run_once_in_order_in_batches_that_fit(sizes: list[int], memory: int) -> None:
    def run(batch: list[int]) -> list[int]:
        if sum(batch) > memory:
            raise torch.OutOfMemoryError("scripted")
        return [10 * size for size in batch]

    parts = list(run_in_memory(sizes, run, str))
    assert [size for part, _ in parts for size in part] == sizes
    assert [result for _, results in parts for result in results] == [10 * size for size in sizes]
    assert all(sum(part) <= memory for part, _ in parts)


def test_one_item_that_does_not_fit_is_an_error_and_other_errors_pass() -> None:
    def too_small(batch: list[int]) -> None:
        if 7 in batch:
            raise torch.OutOfMemoryError("scripted")

    with pytest.raises(RunError, match="an item of 7"):
        list(run_in_memory([1, 2, 7, 3], too_small, lambda item: f"an item of {item}"))

    def broken(batch: list[int]) -> None:
        raise RuntimeError("another fault")

    with pytest.raises(RuntimeError, match="another fault"):
        list(run_in_memory([1, 2], broken, str))
