"""Transformers and hybrids answer recall tasks directly, without a search."""

import numpy as np
import pytest
import torch

from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.theory.constructions import Precision, builder
from retrieval_gap.theory.constructions.attention import LookupAttention
from retrieval_gap.theory.constructions.measure import smallest_precision
from retrieval_gap.theory.constructions.recurrence import Recurrence
from tests.theory.constructions.checks import are_exact, assert_causal_and_stepwise, built, idle_share, is_exact, scored

VARIANTS = [
    ("index", ""),
    ("index", "values=300"),
    ("associative_recall", ""),
    ("cgram_retrieval", "c=2"),
    ("cgram_retrieval", "c=3"),
    ("cgram_retrieval", "c=4"),
    ("counting", ""),
    ("counting", "most=7"),
    ("copy", ""),
    ("mqar", "vocab=512"),
]
FOUR = ["index", "associative_recall", "cgram_retrieval", "counting"]
ways = pytest.mark.parametrize("how", ["transformer", "hybrid"])
variants = pytest.mark.parametrize(("task", "options"), VARIANTS)


@ways
@variants
def test_every_small_problem_is_answered_at_the_stated_precision(task, options, how):
    step = 3 if task in ("copy", "mqar") else 1
    assert are_exact(task, range(2, 65, step), 3, how=how, options=options) >= 10


@ways
@variants
def test_a_large_problem_is_answered_too(task, options, how):
    for n in (128, 1000) if task != "copy" else (128,):
        assert is_exact(*built(task, n, how=how, options=options), samples=5), f"n = {n}"


@ways
@pytest.mark.parametrize(
    ("task", "family"), [("associative_recall", "shuffled"), ("mqar", "zero_filler"), ("mqar", "random_filler")]
)
def test_every_family_is_answered(task, family, how):
    assert is_exact(*built(task, 128, how=how, family=family), samples=10)


@ways
def test_the_earliest_of_equal_keys_counts(how):
    """In mqar a filler that equals a key and the word after it are not a pair."""
    construction, task = built("mqar", 12, how=how, options="vocab=32 pairs=2")
    words = ["[BOS]", "3", "28", "5", "17", "3", "9", "3"]
    tokens_1xL = torch.tensor([[task.vocabulary.index(word) for word in words]])
    assert task.vocabulary[construction.prefill(tokens_1xL)[0].argmax()] == "28"


@ways
@pytest.mark.parametrize("task", FOUR)
def test_the_stated_bits_per_number_are_near_the_fewest_and_fewer_fail(task, how):
    config = TaskConfig(n=64, mode="direct", split="test")
    build = builder(task, how).build
    _, problem = built(task, 64, how=how)
    stated = build(config, Precision()).stated_precision
    smallest = smallest_precision(lambda precision: build(config, precision), problem, stated, 40)
    assert stated - 8 <= smallest <= stated
    assert scored(*built(task, 64, smallest - 4, how=how), samples=40).accuracy_strict < 1


@ways
@variants
def test_the_number_of_weights_is_constant_and_bits_grow_at_most_like_log_n(task, options, how):
    sizes = [2**k for k in range(5, 10)]
    models = [built(task, n, how=how, options=options)[0] for n in sizes]
    assert len({model.parameter_count() for model in models}) == 1
    bits = [model.precision.number_bits for model in models]
    assert np.polyfit(np.log2(sizes), bits, 1)[0] <= 2.0 + 1e-9
    assert bits[-1] <= 8 + 2 * np.log2(4 * sizes[-1] + 400) + 2


@variants
def test_a_cache_grows_like_n_log_n_and_the_registers_of_a_hybrid_like_log_n(task, options):
    (small, _), (large, _) = (built(task, n, how="hybrid", options=options) for n in (32, 512))
    registers = {model.recurrent_bits() / model.precision.number_bits for model in (small, large)}
    assert len(registers) == 1
    assert registers.pop() <= 8
    assert large.recurrent_bits() < 2 * small.recurrent_bits()
    assert large.state_bits(512) - large.state_bits(511) == large.state_bits(2) - large.state_bits(1)
    assert large.state_bits(512) > 10 * large.recurrent_bits()


@variants
def test_a_hybrid_has_one_recurrent_layer_below_one_attention_layer(task, options):
    parts = list(built(task, 32, how="hybrid", options=options)[0].parts)
    kinds = [type(part) for part in parts if isinstance(part, LookupAttention | Recurrence)]
    assert kinds == [Recurrence, LookupAttention]
    assert not any(
        isinstance(part, Recurrence) for part in built(task, 32, how="transformer", options=options)[0].parts
    )


@ways
@variants
def test_it_is_causal_and_steps_equal_the_forward_pass(task, options, how):
    construction, problem = built(task, 32, how=how, options=options)
    assert_causal_and_stepwise(construction, problem, change=20)


@ways
@pytest.mark.parametrize("task", FOUR)
def test_most_weights_matter(task, how):
    construction, problem = built(task, 12, "exact", how=how)
    # The other weights serve look-ups that find nothing, which these problems do not need.
    assert idle_share(construction, problem, 30) < 0.5
