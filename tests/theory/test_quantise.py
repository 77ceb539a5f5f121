"""Quantised vectors take no more values than their bits can name, and their error is bounded."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.theory.quantise import KEPT_RANGES, MOST_BITS, Components, Levels


def normal(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dice", [None, 3])
@pytest.mark.parametrize("bits", [0, 1, 2, 5])
def test_an_element_takes_no_more_values_than_its_bits_can_name(bits: int, dice: int | None) -> None:
    levels = Levels.calibrate(normal(100, 7), bits)
    generator = None if dice is None else torch.Generator().manual_seed(dice)
    quantised_BxF = levels(3 * normal(500, 7, seed=1), generator)
    assert all(len(column.unique()) <= 2**bits for column in quantised_BxF.T)


def test_with_no_bits_every_vector_becomes_the_calibration_mean() -> None:
    x_CxF = normal(100, 5)
    assert torch.equal(Levels.calibrate(x_CxF, 0)(normal(3, 5, seed=1)), x_CxF.mean(0).expand(3, 5))


@settings(deadline=None)
@given(bits=st.integers(1, MOST_BITS), columns=st.integers(1, 6), scale=st.floats(1e-6, 1e6))
def test_the_rms_error_is_at_most_half_a_step_over_the_whole_range(bits: int, columns: int, scale: float) -> None:
    x_CxF = scale * normal(64, columns, seed=bits)
    error_F = (Levels.calibrate(x_CxF, bits)(x_CxF) - x_CxF).square().mean(0)
    half_step_F = (x_CxF.amax(0) - x_CxF.amin(0)) / (2**bits - 1) / 2
    assert (error_F <= (half_step_F + 1e-6 * x_CxF.abs().amax(0)) ** 2).all()


def test_calibrated_ranges_cut_off_rare_extremes() -> None:
    x_CxF = torch.cat([normal(255, 1), torch.full((1, 1), 50.0)])
    low, step = Levels.calibrate(x_CxF, 3).low_F, Levels.calibrate(x_CxF, 3).step_F
    assert low + 7 * step < 0.9 * 50
    assert min(KEPT_RANGES) > 0


def test_one_bit_keeps_elements_of_two_values_and_constants() -> None:
    signs_CxF = normal(50, 4).sign()
    signs_CxF[:, 3] = 2.5
    assert torch.equal(Levels.calibrate(signs_CxF, 1)(signs_CxF), signs_CxF)


def test_stochastic_rounding_is_right_on_average_and_the_same_for_any_batch_size() -> None:
    levels = Levels.calibrate(torch.tensor([[0.0], [1.0]]), 1)
    x_BxF = torch.full((20_000, 1), 0.3)
    rounded_BxF = levels(x_BxF, torch.Generator().manual_seed(0))
    assert set(rounded_BxF.unique().tolist()) == {0.0, 1.0}
    assert rounded_BxF.mean().item() == pytest.approx(0.3, abs=0.015)  # 4.6 standard errors
    dice = torch.Generator().manual_seed(0)
    parts = [levels(x_BxF[:3], dice), levels(x_BxF[3:10], dice)]
    assert torch.equal(torch.cat(parts), rounded_BxF[:10])


def test_vectors_in_the_span_of_the_components_are_restored() -> None:
    x_CxF = normal(40, 3) @ normal(3, 12, seed=1) + 5
    components = Components.of(x_CxF).first(3)
    torch.testing.assert_close(components.vector(components.coefficients(x_CxF)), x_CxF, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(components.basis_RxF @ components.basis_RxF.T, torch.eye(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bits", [-1, MOST_BITS + 1])
def test_numbers_of_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        Levels.calibrate(normal(4, 2), bits)
