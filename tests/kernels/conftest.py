"""A faster Triton interpreter, and fresh memory that is filled with NaN."""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session", autouse=importlib.util.find_spec("triton") is not None)
def _interpreter_that_prepares_once() -> Iterator[None]:
    """Triton's interpreter replaces the functions of `triton.language` by its own at every call inside a kernel, which
    takes ten times as long as the kernel. Here it does so only if they are not replaced yet."""
    import triton.language as tl
    from triton.runtime import interpreter

    compiled = {module: module.arange for module in (tl, tl.core)}
    called = interpreter.InterpretedFunction.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if any(module.arange is compiled[module] for module in compiled if module in self.fn.__globals__.values()):
            return called(self, *args, **kwargs)
        function: Callable[..., Any] = self.rewrite()
        return function(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter.InterpretedFunction, "__call__", call)
        yield


@pytest.fixture
def poisoned_memory() -> Iterator[None]:
    """Fills fresh tensors with NaN: nothing may be read before it is written, or left unwritten."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
