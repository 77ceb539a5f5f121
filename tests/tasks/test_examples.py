"""The worked example in each task's file is what the task gives."""

import doctest
import importlib

import pytest

from retrieval_gap.tasks.registry import PACKAGE, task_names

# Its example has files of its own; tests/tasks/hotpotqa/test_task.py checks the format by hand.
ELSEWHERE = {"hotpotqa"}


@pytest.mark.parametrize("name", sorted(set(task_names()) - ELSEWHERE))
def test_the_example_in_a_tasks_file_is_what_it_samples(name: str) -> None:
    told = doctest.testmod(importlib.import_module(f"{PACKAGE}.{name}"))
    assert told.attempted
    assert not told.failed
