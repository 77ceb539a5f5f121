"""The ceiling from Fano's inequality is never below the exact solution, and close to it."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.theory.entropy import fano_ceiling, information

ALPHABETS = st.integers(2, 5000)


def exact_information(p: float, alphabet: int) -> mpmath.mpf:
    """log2 q - H2(p) - (1 - p) log2(q - 1) to 40 digits."""
    with mpmath.workdps(40):
        wrong = 1 - mpmath.mpf(p)
        entropy = -sum(x * mpmath.log(x, 2) for x in (mpmath.mpf(p), wrong) if x > 0)
        return mpmath.log(alphabet, 2) - entropy - wrong * mpmath.log(alphabet - 1, 2)


@given(alphabet=ALPHABETS, share=st.floats(0, 1))
def test_the_ceiling_is_not_below_the_exact_solution(alphabet: int, share: float) -> None:
    bits = share * np.log2(alphabet)
    accuracy = float(fano_ceiling(bits, alphabet))
    assert 1 / alphabet <= accuracy <= 1
    assert bits == 0 or accuracy == 1 or exact_information(accuracy, alphabet) >= bits


@given(alphabet=ALPHABETS, accuracy=st.floats(0, 1))
def test_the_ceiling_is_close_to_the_exact_solution(alphabet: int, accuracy: float) -> None:
    accuracy = 1 / alphabet + accuracy * (1 - 1 / alphabet)
    bits = float(information(accuracy, alphabet))
    # near chance, information grows with the square of the distance: its rounding error is 1e-8 of accuracy
    assert accuracy - 1e-7 <= fano_ceiling(bits, alphabet) <= accuracy + 1e-4


def test_known_values() -> None:
    assert fano_ceiling([-1.0, 0.0], 16).tolist() == [1 / 16, 1 / 16]
    assert fano_ceiling([4.0, 9.0], 16).tolist() == [1.0, 1.0]
    # H2(0.11002786) = 1/2: at this error rate a binary symmetric channel has capacity one half.
    assert fano_ceiling(0.5, 2) == pytest.approx(1 - 0.11002786, abs=1e-7)


@given(alphabet=ALPHABETS, bits=st.lists(st.floats(0, 13), min_size=2, max_size=20))
def test_more_bits_never_lower_the_ceiling(alphabet: int, bits: list[float]) -> None:
    assert (np.diff(fano_ceiling(sorted(bits), alphabet)) >= 0).all()


def test_an_alphabet_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="2 or more values"):
        fano_ceiling(1.0, 1)
