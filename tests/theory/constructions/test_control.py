"""Each part of the control, run as a layer, does what a few lines of Python say."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import BOS
from retrieval_gap.theory.constructions import Precision
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.control import CLOCK, clock, clock_is, held, is_token, number_of, rules
from retrieval_gap.theory.constructions.feed_forward import times
from retrieval_gap.theory.constructions.program import ANSWER, TOKEN, Program
from retrieval_gap.theory.constructions.residual_stream import direction

MARKS = {5: 0, 6: 4}
texts = st.lists(st.integers(BOS, 12), min_size=1, max_size=40)
few_bits = st.sampled_from([18, 24, None])
fast = settings(max_examples=40, deadline=None)


def streamed(program: Program, text: list[int]) -> dict[str, list[float]]:
    """The values of each direction, one per token."""
    model = Construction(program, "none", 20, lambda n: n)
    x_LxD = model.read(torch.tensor([text]), model.init_state(1))[0][0]
    return {name: x_LxD[:, column].tolist() for column, name in enumerate(model.names)}


def with_clock(bits: int | None) -> Program:
    program = Program(50, Precision(bits), positions=False)
    program.feed_forward({f"is_{mark}": is_token(mark) for mark in MARKS}, "marks")
    program.recur({CLOCK: clock({f"is_{mark}": time for mark, time in MARKS.items()})}, "clock")
    return program


@fast
@given(texts, few_bits)
def test_the_clock_counts_the_tokens_since_the_last_mark(text, bits):
    program = with_clock(bits)
    program.feed_forward({"at_2": clock_is(2), ANSWER: clock_is(6)}, "times")
    found = streamed(program, text)
    expected, now = [], None
    for token in text:
        now = MARKS.get(token, None if now is None else now + 1)
        expected.append(now)
    assert found[CLOCK] == [0.0 if time is None else 2.0**-time for time in expected]
    assert found["at_2"] == [float(time == 2) for time in expected]
    assert found[ANSWER] == [float(time == 6) for time in expected]


@fast
@given(texts, few_bits)
def test_a_register_holds_what_it_was_last_set_to(text, bits):
    program = Program(50, Precision(bits), positions=False)
    program.feed_forward({"sets": is_token(9) + is_token(11)}, "when")
    program.feed_forward({"value": times(direction(TOKEN), direction("sets"))}, "what")
    program.recur({ANSWER: held(ANSWER, direction("sets"), direction("value"))}, "register")
    expected, now = [], 0.0
    for token in text:
        now = number_of(token) if token in (9, 11) else now
        expected.append(now)
    assert streamed(program, text)[ANSWER] == expected


@fast
@given(
    st.lists(st.tuples(st.integers(-9, 9), st.lists(st.integers(BOS, 6), min_size=1, max_size=4)), max_size=6), texts
)
def test_rules_add_the_values_whose_flags_are_all_1(table, text):
    program = Program(50, Precision(), positions=False)
    program.feed_forward({f"seen_{token}": is_token(token) for token in range(BOS, 7)}, "flags of this token")
    ever = {f"ever_{k}": held(f"ever_{k}", direction(f"seen_{k}"), direction(f"seen_{k}")) for k in range(BOS, 7)}
    program.recur(ever, "flags of all tokens so far")
    told = [(float(value), tuple(direction(f"ever_{token}") for token in flags)) for value, flags in table]
    program.feed_forward({ANSWER: rules([(0.0, (direction("one"),)), *told])}, "rules")
    expected = [
        float(sum(value for value, flags in table if set(flags) <= set(text[: t + 1]))) for t in range(len(text))
    ]
    assert streamed(program, text)[ANSWER] == expected


def test_the_clock_is_0_long_after_a_mark():
    program = with_clock(18)
    program.feed_forward({ANSWER: clock_is(3)}, "time")
    found = streamed(program, [5] + [8] * 3000)
    assert found[CLOCK][-1] == 0
