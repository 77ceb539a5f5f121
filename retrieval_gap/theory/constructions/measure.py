"""The fewest bits of a number with which a construction still works, measured beside those that its proof states."""

from collections.abc import Callable

from retrieval_gap.decoding.evaluation import evaluate
from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.api import Task
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.precision import FEWEST_BITS, Precision


def is_exact(construction: Construction, task: Task, samples: int) -> bool:
    """Whether the first samples of the task's split are decoded right, and in rag and cot token for token."""
    told = evaluate(construction, task, samples)
    return told.accuracy_strict == 1 and (task.config.mode == "direct" or told.exact_trace == 1)


def smallest_precision(build: Callable[[Precision], Construction], task: Task, samples: int = 20) -> int:
    """The fewest bits a number with which `samples` samples are exact; so they are with every more, up to the stated.

    Raises RunError where they are not exact with the stated bits.
    """
    bits = build(Precision()).stated_precision(task.config.n)
    if not is_exact(build(Precision(bits)), task, samples):
        raise RunError(f"{task.name}, n = {task.config.n}: not exact with the {bits} bits a number that are stated")
    while bits > FEWEST_BITS and is_exact(build(Precision(bits - 1)), task, samples):
        bits -= 1
    return bits
