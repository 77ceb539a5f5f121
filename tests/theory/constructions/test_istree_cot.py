"""IsTree with a chain of thought: the Transformer's tours, and the hybrid's records and frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.decoding.decode import decode
from retrieval_gap.tasks.api import FALSE, TRUE, TaskConfig
from retrieval_gap.tasks.istree import IsTree, vocabulary
from retrieval_gap.tasks.istree.families import FAMILIES
from retrieval_gap.tasks.istree.oracle import is_tree, trace
from retrieval_gap.theory.constructions import Precision, builder
from retrieval_gap.theory.constructions.attention import LookupAttention
from retrieval_gap.theory.constructions.istree_frames import IsTreeFrames, frames_of
from retrieval_gap.theory.constructions.measure import smallest_precision
from retrieval_gap.theory.constructions.recurrence import Recurrence
from tests.theory.constructions.checks import are_exact, assert_causal_and_stepwise, built, is_exact, scored

WAYS = ["transformer_cot", "hybrid_cot"]
ways = pytest.mark.parametrize("how", WAYS)
families = pytest.mark.parametrize("family", FAMILIES)


def tour_of(tokens_L: np.ndarray, nodes: int) -> list[int]:
    """The node tokens of the tour in the frames of a whole trace, after 3n - 1 tokens of prompt and 4 per record."""
    frames_Fx5 = np.asarray(tokens_L[3 * nodes - 1 + 4 * (nodes - 1) + 1 : -2]).reshape(-1, 5)
    at_F = frames_Fx5[:, 0].tolist()
    return [v for before, v in zip([None, *at_F], at_F, strict=False) if v != before]


@ways
@families
def test_every_small_graph_gets_the_exact_trace_at_the_stated_precision(family, how):
    sizes = [*range(4, 20), 33, 64] if how == "transformer_cot" else [*range(4, 14), 31]
    assert are_exact("istree", sizes, 4, how=how, family=family) == len(sizes)


@ways
def test_a_large_graph_gets_the_exact_trace_too(how):
    assert is_exact(*built("istree", 128, how=how, family="random_tree"), samples=2)


@ways
def test_nodes_may_have_any_names(how):
    assert is_exact(*built("istree", 12, how=how, options="names=40"), samples=10)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """Any simple graph of n nodes and n - 1 edges, in any order."""
    n = draw(st.integers(4, 9))
    pairs = [(u, v) for u in range(n) for v in range(u)]
    return n, draw(st.permutations(pairs))[: n - 1]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(graphs())
def test_any_graph_of_n_minus_1_edges_gets_the_answer_and_the_tour_of_the_oracle(drawn):
    n, edges = drawn
    words = vocabulary(n)
    gold, _ = trace(edges, n, "cot")
    prompt = [words.index(word) for word in gold[: 3 * n - 1]]
    for how in WAYS:
        builds = builder("istree", how)
        construction = builds.build(TaskConfig(n=n, mode="cot"), Precision())
        decoded = decode(
            construction,
            np.array([prompt], np.int32),
            np.array([len(prompt)], np.int32),
            answers=(TRUE, FALSE),
            max_length=22 * n,
        )
        tokens_L = decoded.tokens_BxL[0, : decoded.length_B[0]]
        assert decoded.answer_B[0] == (TRUE if is_tree(edges, n) else FALSE)
        tour = tokens_L[len(prompt) : -2].tolist() if how == "transformer_cot" else tour_of(tokens_L, n)
        assert [words[node] for node in tour] == gold[3 * n - 1 : -2]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(graphs())
def test_frames_have_the_tour_and_the_answer_of_the_cot_view(drawn):
    n, edges = drawn
    words = vocabulary(n)
    gold, _ = trace(edges, n, "cot")
    tokens = [*(words.index(word) for word in gold[: 3 * n - 1]), *frames_of(edges, n)]
    assert [words[node] for node in tour_of(np.array(tokens), n)] == gold[3 * n - 1 : -2]
    assert words[tokens[-1]] == gold[-1]
    assert len(tokens) <= 22 * n - 12


def test_frames_of_the_worked_example_are_right():
    words = vocabulary(5)
    written = " ".join(words[token] for token in frames_of([(2, 0), (2, 1), (1, 0), (4, 3)], 5))
    records = "2 0 F F 2 1 0 F 1 0 1 0 4 3 F F [EOS]"
    frames = "0 F F 0 2 2 0 F 0 0 2 0 0 1 1 1 2 F 1 2 1 2 1 2 0 [EOS] [FALSE]"
    assert written.replace("[FAILED]", "F") == f"{records} {frames}"


def test_the_frames_view_has_the_tasks_prompts_and_answers_and_grades_the_trace():
    config = TaskConfig(n=9, mode="cot", family="path_like", split="test")
    frames, tours = (kind(config).sample(np.arange(20)) for kind in (IsTreeFrames, IsTree))
    assert np.array_equal(frames.answer_B, tours.answer_B)
    assert np.array_equal(frames.prompt_len_B, tours.prompt_len_B)
    for b in range(20):
        prompt, length = frames.prompt_len_B[b], frames.length_B[b]
        assert np.array_equal(frames.tokens_BxL[b, :prompt], tours.tokens_BxL[b, :prompt])
        assert np.flatnonzero(frames.loss_mask_BxL[b]).tolist() == list(range(prompt, length))
        assert frames.tokens_BxL[b, length - 1] == frames.answer_B[b]
    trees = frames.length_B[frames.answer_B == TRUE]
    assert set(trees.tolist()) == {22 * 9 - 12}


@ways
def test_the_stated_bits_per_number_are_near_the_fewest_and_fewer_fail(how):
    config = TaskConfig(n=16, mode="cot", split="test")
    build = builder("istree", how).build
    _, problem = built("istree", 16, how=how)
    stated = build(config, Precision()).stated_precision
    smallest = smallest_precision(lambda precision: build(config, precision), problem, stated, 10)
    assert stated - 11 <= smallest <= stated
    assert scored(*built("istree", 16, smallest - 2, how=how), samples=10).exact_trace < 1


@ways
def test_the_number_of_weights_is_constant_and_bits_grow_like_log_n(how):
    sizes = [2**k for k in range(4, 11)]
    models = [built("istree", n, how=how)[0] for n in sizes]
    assert len({model.parameter_count() for model in models}) == 1
    bits = [model.precision.number_bits for model in models]
    assert 1.0 <= np.polyfit(np.log2(sizes), bits, 1)[0] <= 2.2


def test_the_transformer_has_eight_attention_layers_and_the_hybrid_one_above_its_recurrence():
    transformer, hybrid = (built("istree", 8, how=how)[0] for how in WAYS)
    assert sum(isinstance(part, LookupAttention) for part in transformer.parts) == 8
    kinds = [type(part) for part in hybrid.parts if isinstance(part, LookupAttention | Recurrence)]
    assert kinds == [Recurrence, LookupAttention]


def test_the_hybrid_has_22_registers_at_every_size():
    small, large = (built("istree", n, how="hybrid_cot")[0] for n in (8, 1024))
    assert small.recurrent_bits() // small.precision.number_bits == 22
    assert large.recurrent_bits() // large.precision.number_bits == 22


@ways
def test_it_is_causal_and_steps_equal_the_forward_pass(how):
    construction, problem = built("istree", 6, how=how)
    assert_causal_and_stepwise(construction, problem, change=25)
