"""Checks that the tests of several constructions share."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from retrieval_gap.decoding.evaluation import Evaluation, evaluate
from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.tasks.api import Task, TaskConfig, TaskError
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.constructions import Construction, Precision, builder
from retrieval_gap.theory.constructions.measure import writes


def built(
    task: str, n: int, bits: int | str = "stated", *, how: str = "rnn_rag", **config: str
) -> tuple[Construction, Task]:
    """A construction, by default at its stated precision, and its task on the test split."""
    builds = builder(task, how)
    told = TaskConfig(n=n, mode=builds.mode, split="test", **config)
    construction = builds.build(told, Precision())
    if bits != "exact":
        stated = construction.stated_precision if bits == "stated" else int(bits)
        construction = builds.build(told, Precision(stated))
    return construction, (builds.view or load_task(task))(told)


def scored(construction: Construction, task: Task, samples: int, retriever: RetrieverName | None = None) -> Evaluation:
    return evaluate(construction, task, samples, retriever=retriever)


def is_exact(construction: Construction, task: Task, samples: int, retriever: RetrieverName | None = None) -> bool:
    told = scored(construction, task, samples, retriever)
    return told.accuracy_strict == 1 and told.exact_trace == 1


def are_exact(task: str, sizes: Iterable[int], samples: int, **config: str) -> int:
    """Check that a construction is exact at each valid size, and return the number of these.

    Gold traces are read in chunks, which gives the verdict of free decoding at a tenth of its cost (`test_measure.py`);
    every eighth size is decoded as well.
    """
    checked = 0
    for n in sizes:
        try:
            construction, problem = built(task, n, **config)
        except TaskError:  # odd, or too few sequences for three splits
            continue
        assert writes(construction, problem.sample(np.arange(samples))), f"n = {n}"
        if checked % 8 == 0:
            assert is_exact(construction, problem, samples), f"n = {n}"
        checked += 1
    return checked


def weights(construction: Construction) -> Iterator[tuple[torch.Tensor, int]]:
    """Every weight that is not 0, as its flattened tensor and its index in it."""
    for tensor in construction.parameters():
        for place in torch.nonzero(tensor.flatten())[:, 0].tolist():
            yield tensor.view(-1), place


def idle_share(construction: Construction, task: Task, samples: int, every: int = 1) -> float:
    """The share of weights that can be set to 0 with all samples still exact; one weight in `every` is tried."""
    tried, idle = list(weights(construction))[::every], 0
    for flat, place in tried:
        before = flat[place].item()
        flat[place] = 0
        idle += is_exact(construction, task, samples)
        flat[place] = before
    return idle / len(tried)


def tokens_of(task: Task, samples: int) -> torch.Tensor:
    return torch.from_numpy(task.sample(np.arange(samples)).tokens_BxL).long()


def assert_causal_and_stepwise(construction: Construction, task: Task, change: int, samples: int = 3) -> None:
    """Tokens from place `change` on alter no earlier logits, and decode steps equal the forward pass, both exactly."""
    tokens_BxL = tokens_of(task, samples)
    whole_BxLxV = construction.forward(tokens_BxL)
    changed_BxL = tokens_BxL.clone()
    changed_BxL[:, change:] = 3
    assert torch.equal(construction.forward(changed_BxL)[:, :change], whole_BxLxV[:, :change])
    last_BxV, state = construction.prefill(tokens_BxL[:, :change])
    assert torch.equal(last_BxV, whole_BxLxV[:, change - 1])
    for t in range(change, tokens_BxL.shape[1]):
        last_BxV, state = construction.step(tokens_BxL[:, t], state)
        assert torch.equal(last_BxV, whole_BxLxV[:, t])
