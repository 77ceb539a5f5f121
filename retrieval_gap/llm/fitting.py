"""Batches that fit into memory: one that does not is halved until it does."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from retrieval_gap.machine.devices import is_out_of_memory
from retrieval_gap.machine.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_in_memory(
    batch: list[Item], run: Callable[[list[Item]], Result], too_large: Callable[[Item], str]
) -> Iterator[tuple[list[Item], Result]]:
    """Yield the parts of `batch` that fit into memory, in order, each with what `run` returns for it.

    Raises RunError, with the message that `too_large` returns, if one item alone does not fit.
    """
    try:
        yield batch, run(batch)
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise RunError(too_large(batch[0])) from error
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    half = len(batch) // 2
    yield from run_in_memory(batch[:half], run, too_large)
    yield from run_in_memory(batch[half:], run, too_large)
