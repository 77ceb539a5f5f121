import numpy as np
import pytest

from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.tasks.api import TaskConfig, TaskError
from retrieval_gap.theory.constructions import Precision, builder
from retrieval_gap.theory.constructions.measure import smallest_precision
from tests.theory.constructions.checks import are_exact, assert_causal_and_stepwise, built, idle_share, is_exact

RECALL = {
    "index": "values=16",
    "associative_recall": "",
    "cgram_retrieval": "c=3",
    "counting": "most=2",
    "mqar": "vocab=64 pairs=2",
}
VARIANTS = [
    *RECALL.items(),
    ("cgram_retrieval", "c=2"),
    ("cgram_retrieval", "c=4"),
    ("counting", "most=7"),
    ("index", "values=300"),
]
recall = pytest.mark.parametrize(("task", "options"), RECALL.items())
variants = pytest.mark.parametrize(("task", "options"), VARIANTS)


@variants
def test_every_small_problem_is_answered_with_the_exact_trace_at_the_stated_precision(task, options):
    assert are_exact(task, range(2, 65), 12, options=options) >= 28


@variants
@pytest.mark.parametrize("n", [128, 1000])
def test_a_large_problem_gets_the_exact_trace_too(task, options, n):
    assert is_exact(*built(task, n, options=options), samples=30)


def test_keys_in_any_order_are_found():
    assert is_exact(*built("associative_recall", 64, family="shuffled"), samples=30)


@recall
def test_the_stated_bits_are_near_the_fewest_and_one_fewer_fails(task, options):
    config = TaskConfig(n=64, mode="rag", split="test", options=options)
    _, problem = built(task, 64, options=options)
    build = builder(task, "rnn_rag").build
    stated = build(config, Precision()).stated_precision
    smallest = smallest_precision(lambda precision: build(config, precision), problem, stated)
    assert stated - 6 <= smallest <= stated
    assert is_exact(*built(task, 64, smallest, options=options), samples=20)
    assert not is_exact(*built(task, 64, smallest - 1, options=options), samples=20)


def test_a_construction_that_is_not_exact_with_the_stated_bits_has_no_smallest():
    config = TaskConfig(n=8, mode="rag", split="test")
    _, problem = built("index", 8)

    def broken(precision):
        construction = builder("index", "rnn_rag").build(config, precision)
        next(construction.parameters()).zero_()
        return construction

    with pytest.raises(RunError, match="not exact"):
        smallest_precision(broken, problem, 20)


@recall
def test_state_grows_like_log_n_and_weights_not_at_all(task, options):
    sizes = [2**k for k in range(4, 10)]
    bits, counts = [], set()
    for n in sizes:
        construction, _ = built(task, n, options=options)
        bits.append(construction.state_bits(5))
        counts.add(construction.parameter_count())
    numbers = construction.state_bits(5) / construction.precision.number_bits
    slope = np.polyfit(np.log2(sizes), bits, 1)[0]
    assert -1e-9 <= slope <= 2.5 * numbers  # if n doubles, a number needs 2 bits more, as its square must be exact
    assert len(counts) == 1
    at_64, at_1000 = (built(task, n, options=options)[0].state_bits(n) for n in (64, 1000))
    assert at_1000 < 2 * at_64


@recall
def test_most_weights_matter(task, options):
    construction, problem = built(task, 12, "exact", options=options)
    assert idle_share(construction, problem, 20, every=3) < 0.35


@recall
def test_it_is_causal_and_steps_equal_the_forward_pass(task, options):
    assert_causal_and_stepwise(*built(task, 16, options=options), change=10)


@pytest.mark.parametrize("how", ["rnn_rag", "transformer", "hybrid"])
def test_a_query_before_the_sequence_is_refused(how):
    with pytest.raises(UsageError, match="--query first"):
        builder("index", how).build(TaskConfig(n=16, options="query=first"), Precision())


def test_index_past_the_limit_of_re2_is_an_error_with_a_workaround():
    with pytest.raises(TaskError, match=r"1001.*at most 1000 times.*behind another"):
        builder("index", "rnn_rag").build(TaskConfig(n=1001, mode="rag"), Precision())


@pytest.mark.parametrize("n", [8, 32, 64, 256])
@pytest.mark.parametrize("options", ["vocab=64", "vocab=1024 power=1"])
def test_several_keys_are_recalled_one_after_the_other(n, options):
    pairs = "" if n > 8 else " pairs=2"
    assert is_exact(*built("mqar", n, options=options + pairs), samples=20)
