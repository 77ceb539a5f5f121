"""Quantisation of a vector: uniform levels for each element, or for its first principal components.

Axes: B samples, C calibration samples, F elements of a state, R principal components.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Rounding = Literal["nearest", "stochastic"]
MOST_BITS = 16  # level numbers up to 2^16 are well within float32's exact integers
# Shares of the calibrated range to try: cutting off rare extremes makes the levels finer for all other values.
KEPT_RANGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)


@dataclass(frozen=True)
class Levels:
    """2^bits equally spaced levels for each element, from `low_F` up in steps of `step_F`; 0 bits are one level."""

    bits: int
    low_F: Float[Tensor, " f"]
    step_F: Float[Tensor, " f"]

    @classmethod
    def calibrate(cls, x_CxF: Float[Tensor, "c f"], bits: int) -> "Levels":
        """The levels with the least mean squared error on these samples, per element, among ranges around the mean.

        With 0 bits the one level is the mean.  Raises ValueError for bits outside 0..MOST_BITS.
        """
        if not 0 <= bits <= MOST_BITS:
            raise ValueError(f"bits = {bits} is outside 0..{MOST_BITS}")
        mean_F = x_CxF.mean(0)
        if bits == 0:
            return cls(0, mean_F, torch.ones_like(mean_F))
        low_F, high_F = x_CxF.amin(0), x_CxF.amax(0)
        best, least_F = None, torch.full_like(mean_F, torch.inf)
        for kept in KEPT_RANGES:
            tried = cls._between(torch.lerp(mean_F, low_F, kept), torch.lerp(mean_F, high_F, kept), bits)
            error_F = (tried(x_CxF) - x_CxF).square().mean(0)
            better_F = error_F < least_F
            best = tried if best is None else best._where_not(better_F, tried)
            least_F = torch.minimum(error_F, least_F)
        assert best is not None
        return best

    @classmethod
    def _between(cls, low_F: Tensor, high_F: Tensor, bits: int) -> "Levels":
        step_F = (high_F - low_F) / (2**bits - 1)
        return cls(bits, low_F, torch.where(step_F > 0, step_F, 1.0))

    def _where_not(self, better_F: Tensor, other: "Levels") -> "Levels":
        return Levels(
            self.bits,
            torch.where(better_F, other.low_F, self.low_F),
            torch.where(better_F, other.step_F, self.step_F),
        )

    def __call__(self, x_BxF: Float[Tensor, "b f"], dice: torch.Generator | None = None) -> Float[Tensor, "b f"]:
        """Each element rounded to its nearest level; with `dice`, stochastically to the level below or above, with the
        element as the mean."""
        place_BxF = (x_BxF - self.low_F) / self.step_F
        if dice is None:
            level_BxF = place_BxF.round()
        else:  # row by row, so that a sample's rounding does not depend on the batch size
            noise = [torch.rand(x_BxF.shape[1], generator=dice, device=dice.device) for _ in x_BxF]
            level_BxF = (place_BxF + torch.stack(noise).to(x_BxF)).floor()
        return self.low_F + self.step_F * level_BxF.clamp(0, 2**self.bits - 1)


@dataclass(frozen=True)
class Components:
    """Principal components of calibration samples: x is approximately mean_F + coefficients_R basis_RxF."""

    mean_F: Float[Tensor, " f"]
    basis_RxF: Float[Tensor, "r f"]

    @classmethod
    def of(cls, x_CxF: Float[Tensor, "c f"]) -> "Components":
        """All components of the samples, by falling variance: at most min(C, F)."""
        mean_F = x_CxF.mean(0)
        return cls(mean_F, torch.linalg.svd(x_CxF - mean_F, full_matrices=False).Vh)

    def first(self, rank: int) -> "Components":
        return Components(self.mean_F, self.basis_RxF[:rank])

    def coefficients(self, x_BxF: Float[Tensor, "b f"]) -> Float[Tensor, "b r"]:
        return (x_BxF - self.mean_F) @ self.basis_RxF.T

    def vector(self, coefficients_BxR: Float[Tensor, "b r"]) -> Float[Tensor, "b f"]:
        return self.mean_F + coefficients_BxR @ self.basis_RxF
