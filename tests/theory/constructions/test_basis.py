"""The parts of programs: forms, feed-forward units, look-ups, registers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.theory.constructions import Precision
from retrieval_gap.theory.constructions.attention import BOS_FLAG, POSITION, Lookup, LookupAttention, sharpness
from retrieval_gap.theory.constructions.feed_forward import (
    FeedForward,
    Units,
    at_least_one,
    is_zero,
    linear,
    relu,
    square,
    times,
)
from retrieval_gap.theory.constructions.precision import EXACT
from retrieval_gap.theory.constructions.recurrence import Recurrence, Register
from retrieval_gap.theory.constructions.residual_stream import (
    Affine,
    ResidualStream,
    constant,
    direction,
    number,
    square_of,
)

whole = st.integers(-1000, 1000)
A, B = direction("a"), direction("b")
BITS = 8 + 22  # per number: squares of whole numbers up to 1,000 are exact
quick = settings(deadline=None, max_examples=60)


def computed(units: Units, a: float, b: float, precision: Precision) -> float:
    stream = ResidualStream(["one", "a", "b"])
    layer = FeedForward(stream, {"y": units}, precision)
    assert stream.names == ["one", "a", "b", "y"]
    return layer(torch.tensor([1.0, a, b], dtype=EXACT))[-1].item()


@quick
@given(whole, whole, st.sampled_from([Precision(), Precision(BITS)]))
def test_units_compute_their_functions(a, b, precision):
    assert computed(linear(3.0 * A - B + 2), a, b, precision) == 3 * a - b + 2
    assert computed(relu(A - B), a, b, precision) == max(0, a - b)
    assert computed(square(A), a, b, precision) == a * a
    assert computed(times(A, direction("one") * abs(b)), a, b, precision) == a * abs(b)
    assert computed(is_zero(A - B), a, b, precision) == (a == b)
    assert computed(at_least_one(A - B), a, b, precision) == (a > b)
    assert computed(relu(A) - 2.0 * relu(B), a, b, precision) == max(0, a) - 2 * max(0, b)


@quick
@given(whole, whole, st.integers(-50, 50))
def test_forms_add_and_multiply_like_their_values(a, b, shift):
    forms = [A + B, A - B, 2.0 * A, 1.0 - A, A + shift, (number("a") + shift).square, (number("a") - shift).value]
    values = torch.tensor([1.0, a, b, a * a], dtype=EXACT)
    rows = ResidualStream(["one", "a", "b", square_of("a")]).rows(forms)
    assert (rows @ values).tolist() == [a + b, a - b, 2 * a, 1 - a, a + shift, (a + shift) ** 2, a - shift]


def test_a_direction_is_written_once_and_before_it_is_read():
    stream = ResidualStream(["one", "a"])
    with pytest.raises(ValueError, match="'a' is written twice"):
        stream.add("a")
    with pytest.raises(ValueError, match="'b' is read before"):
        stream.rows([direction("b")])


def looked_up(keys: list[int], query: int, prefer: str, precision: Precision) -> list[float]:
    """The place where a last position, after `[BOS]` and the keys, finds its query among the keys, and whether."""
    stream = ResidualStream(["one", BOS_FLAG, POSITION, "key", square_of("key"), "asked", square_of("asked"), "is_key"])
    found = {"place": direction(POSITION), "found": direction("is_key")}
    head = Lookup(found, [(number("asked"), number("key"))], direction("is_key"), prefer)
    layer = LookupAttention(stream, [head], len(keys) + 2, precision)
    rows = [[1.0, 1, 0, 0, 0, 0, 0, 0]]
    rows += [[1.0, 0, t, key, key**2, 0, 0, 1] for t, key in enumerate(keys, 1)]
    rows.append([1.0, 0, len(keys) + 1, query, query**2, query, query**2, 0])
    x_1xLxD = torch.tensor(rows, dtype=EXACT)[None]
    y_1xLxD, cache = layer(x_1xLxD, layer.init_state(1))
    last_1x1xD, _ = layer(x_1xLxD, layer.init_state(1), last_only=True)
    assert torch.equal(last_1x1xD[:, 0], y_1xLxD[:, -1])
    assert cache.length == len(keys) + 2
    return y_1xLxD[0, -1, -2:].tolist()


@quick
@given(
    st.lists(st.integers(-30, 30), min_size=1, max_size=40),
    st.integers(-30, 30),
    st.sampled_from(["earliest", "latest"]),
    st.sampled_from([Precision(), Precision(BITS)]),
)
def test_a_head_finds_the_preferred_of_equal_keys_or_nothing(keys, query, prefer, precision):
    places = [place for place, key in enumerate(keys, 1) if key == query]
    wanted = [float(min(places) if prefer == "earliest" else max(places)), 1.0] if places else [0.0, 0.0]
    assert looked_up(keys, query, prefer, precision) == pytest.approx(wanted, abs=1e-12)


def test_a_head_without_a_preference_takes_the_mean_over_equal_keys():
    assert looked_up([4, 7, 4], 4, "all", Precision(BITS)) == [2.0, 1.0]


def test_a_head_can_look_up_a_constant_that_its_weights_hold():
    stream = ResidualStream(["one", BOS_FLAG, POSITION, "key", square_of("key")])
    head = Lookup({"place": direction(POSITION)}, [(constant(9), number("key"))])
    x_1xLxD = torch.tensor([[[1.0, 1, 0, 0, 0], [1, 0, 1, 9, 81], [1, 0, 2, 5, 25]]], dtype=EXACT)
    layer = LookupAttention(stream, [head], 3, Precision(BITS))
    assert layer(x_1xLxD, layer.init_state(1))[0][0, :, -1].tolist() == [0, 1, 1]


def test_other_keys_weigh_less_than_the_last_bit_of_a_number():
    for bits in (16, 24, 32, 48):
        precision = Precision(bits)
        weight = torch.tensor(-sharpness(precision), dtype=EXACT).exp()
        assert precision.round(1 + 2.0 ** (precision.significand / 2) * weight) == 1


@quick
@given(st.lists(st.tuples(whole, st.integers(0, 1)), min_size=1, max_size=12))
def test_registers_follow_their_equation(inputs):
    registers = {
        "sum": Register(direction("sum"), ((direction("clear"), -direction("sum")),), A),
        "before": Register(direction("sum")),
    }
    stream = ResidualStream(["one", "a", "clear"])
    layer = Recurrence(stream, registers, Precision())
    x_1xLxD = torch.tensor([[[1.0, a, clear] for a, clear in inputs]], dtype=EXACT)
    y_1xLxD, state = layer(x_1xLxD, layer.init_state(1))
    total, before, wanted = 0, 0, []
    for a, clear in inputs:
        total, before = (0 if clear else total) + a, total
        wanted.append([total, before])
    assert y_1xLxD[0, :, -2:].tolist() == wanted
    assert state.tolist() == [wanted[-1]]
    first, middle = layer(x_1xLxD[:, :1], layer.init_state(1))
    if len(inputs) > 1:
        rest, _ = layer(x_1xLxD[:, 1:], middle)
        assert torch.equal(torch.cat([first, rest], 1), y_1xLxD)


def test_a_register_without_an_input_keeps_its_value():
    layer = Recurrence(ResidualStream(["one"]), {"r": Register(direction("r"), add=Affine())}, Precision())
    assert layer(torch.ones(1, 3, 1, dtype=EXACT), torch.full((1, 1), 5.0, dtype=EXACT))[1].tolist() == [[5.0]]
