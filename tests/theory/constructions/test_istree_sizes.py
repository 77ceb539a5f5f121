"""IsTree at every size, at the stated precision.  Gold traces are read, with the same result as decoding
(test_measure.py)."""

import numpy as np
import pytest

from retrieval_gap.tasks.istree.families import FAMILIES
from retrieval_gap.theory.constructions.measure import writes
from tests.theory.constructions.checks import built

pytestmark = pytest.mark.slow
families = pytest.mark.parametrize("family", FAMILIES)
ways = pytest.mark.parametrize("how", ["transformer_cot", "rnn_rag", "hybrid_cot"])


def is_written(n: int, how: str, family: str, samples: int) -> bool:
    construction, problem = built("istree", n, how=how, family=family)
    return writes(construction, problem.sample(np.arange(samples)))


@ways
@families
def test_traces_of_every_size_up_to_64_are_exact(family, how):
    for n in range(4, 65):
        assert is_written(n, how, family, 4), f"n = {n}"


@ways
@families
@pytest.mark.parametrize(("n", "samples"), [(128, 10), (256, 3), (1000, 1)])
def test_traces_of_large_graphs_are_exact(n, samples, family, how):
    assert is_written(n, how, family, samples)
