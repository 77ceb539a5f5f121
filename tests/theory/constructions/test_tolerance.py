"""The weights do the work: every construction tolerates relative noise of 1e-12 in them, and none tolerates 0.2."""

import numpy as np
import pytest
import torch

from retrieval_gap.theory.constructions import Construction, Precision, builders
from retrieval_gap.theory.constructions.machines import load_machine
from retrieval_gap.theory.constructions.measure import writes
from retrieval_gap.theory.constructions.turing_hybrid import WriteTask, build_turing_hybrid
from retrieval_gap.theory.constructions.turing_rnn import build_turing
from retrieval_gap.theory.constructions.turing_text import MachineTask
from tests.theory.constructions.checks import built

noises = pytest.mark.parametrize(("size", "survives"), [(0.0, True), (1e-12, True), (0.2, False)])


def disturb(construction: Construction, size: float) -> None:
    """Multiply each weight by a random number within `size` of 1."""
    generator = torch.Generator().manual_seed(0)
    for tensor in construction.parameters():
        tensor.mul_(1 + size * (2 * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) - 1))


@noises
@pytest.mark.parametrize(("task", "how"), sorted(builders()))
def test_constructions_of_every_task_tolerate_small_noise_and_not_large(task, how, size, survives):
    construction, problem = built(task, 8, "exact", how=how)
    disturb(construction, size)
    assert writes(construction, problem.sample(np.arange(20))) == survives


@noises
@pytest.mark.parametrize("name", ["palindrome", "copy"])
@pytest.mark.parametrize(("view", "build"), [(MachineTask, build_turing), (WriteTask, build_turing_hybrid)])
def test_constructions_of_machines_tolerate_small_noise_and_not_large(view, build, name, size, survives):
    problem = view(load_machine(name), "abba", 100)
    construction = build(problem, Precision())
    disturb(construction, size)
    assert writes(construction, problem.sample(np.arange(1))) == survives
