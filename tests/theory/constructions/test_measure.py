"""The search for the fewest bits per number reads traces instead of decoding them, with the same result."""

import numpy as np
import pytest

from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.theory.constructions import builder, builders
from retrieval_gap.theory.constructions.measure import smallest_precision, writes
from tests.theory.constructions.checks import built, is_exact

everything = pytest.mark.parametrize(("task", "how"), sorted(builders()))
N = 8


@everything
def test_reading_a_trace_gives_the_same_verdict_as_decoding_it(task, how):
    stated = built(task, N, how=how)[0].precision.number_bits
    found = set()
    for bits in (stated, stated - 5, max(10, stated - 20)):
        construction, problem = built(task, N, bits, how=how)
        found.add(told := writes(construction, problem.sample(np.arange(8))))
        assert told == is_exact(construction, problem, 8), f"{bits} bits"
    assert found == {True, False}


@everything
def test_the_fewest_bits_and_all_more_are_enough_and_one_fewer_is_not(task, how):
    builds, n = builder(task, how), 4 if task == "quantised_lstm" else N
    config = TaskConfig(n=n, mode=builds.mode, split="test")
    construction, problem = built(task, n, how=how)
    stated = construction.precision.number_bits
    smallest = smallest_precision(lambda precision: builds.build(config, precision), problem, stated, 8)
    gold = problem.sample(np.arange(8))
    exact = [writes(built(task, n, bits, how=how)[0], gold) for bits in range(smallest - 1, stated + 1)]
    assert exact == [False] + [True] * (stated - smallest + 1)


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_single_wrong_token_is_noticed(place):
    construction, problem = built("istree", 8)
    gold = problem.sample(np.arange(3))
    graded = np.argwhere(gold.loss_mask_BxL)
    assert writes(construction, gold)
    gold.tokens_BxL[tuple(graded[place])] += 1
    assert not writes(construction, gold)
