"""No two compiled functions share a name: numba tells symbols apart by name and by a number that each process counts
from the start, so a third process would confuse two functions of one name that two processes cached."""

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Iterator

import pytest
from numba.core.registry import CPUDispatcher

from retrieval_gap import kernels, tasks


def dispatchers(package: object) -> Iterator[CPUDispatcher]:
    """Every compiled function in the modules of a package, and those that these functions call."""
    found: dict[int, CPUDispatcher] = {}
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):  # type: ignore[attr-defined]
        if "triton" not in info.name and "audits" not in info.name:
            values = vars(importlib.import_module(info.name)).values()
            found |= {id(value): value for value in values if isinstance(value, CPUDispatcher)}
    waiting = list(found.values())
    while waiting:
        called = inspect.getclosurevars(waiting.pop().py_func)
        for value in (*called.nonlocals.values(), *called.globals.values()):
            if isinstance(value, CPUDispatcher) and id(value) not in found:
                found[id(value)] = value
                waiting.append(value)
    yield from found.values()


@pytest.mark.parametrize("package", [kernels, tasks])
def test_no_two_compiled_functions_share_a_name(package: object) -> None:
    names = Counter((each.py_func.__module__, each.py_func.__qualname__) for each in dispatchers(package))
    assert len(names) > 10
    assert [name for name, count in names.items() if count > 1] == []
