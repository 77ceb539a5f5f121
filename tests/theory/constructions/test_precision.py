import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.theory.constructions.precision import FEWEST_BITS, MOST_BITS, Precision

floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def rounded(x: float, bits: int) -> float:
    return Precision(bits).round(torch.tensor([x], dtype=torch.float64)).item()


@given(floats32)
def test_16_bits_are_bfloat16(x):
    assert rounded(x, 16) == torch.tensor(x, dtype=torch.float32).bfloat16().item()


@given(st.floats(min_value=-3e38, max_value=3e38, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-37))
def test_32_bits_are_float32(x):
    assert rounded(x, 32) == torch.tensor(x, dtype=torch.float64).float().item()


@given(st.integers(FEWEST_BITS, MOST_BITS), st.data())
def test_whole_numbers_are_exact_up_to_two_to_the_significand(bits, data):
    largest = 2 ** Precision(bits).significand
    whole = data.draw(st.integers(-largest, largest))
    assert rounded(whole, bits) == whole
    assert rounded(largest + 1, bits) != largest + 1


def test_exact_precision_leaves_float64_unchanged():
    x = torch.rand(5, dtype=torch.float64)
    assert torch.equal(Precision().round(x), x)


@pytest.mark.parametrize("bits", [FEWEST_BITS - 1, MOST_BITS + 1])
def test_too_few_and_too_many_bits_are_refused(bits):
    with pytest.raises(ValueError, match=str(bits)):
        Precision(bits)


def test_numbers_that_are_too_large_become_infinite_and_those_too_small_zero():
    assert rounded(2.0**127, 12) == 2.0**127
    assert rounded(-(2.0**128), 12) == -torch.inf
    assert rounded(2.0**-126, 12) == 2.0**-126
    assert rounded(2.0**-127, 12) == 0
