"""The inputs of a selective scan, as one value.

Legend: B batch, L time (absent for a single step), D channels, N states per channel.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class ScanInputs(NamedTuple):
    """The tensors' strides are free, except that the last axis must be contiguous.

    delta: before bias and softplus.  z: the gate; None: no gate.  state: before the first step; None: zeros.
    """

    x: Float[Tensor, "B *L D"]
    delta: Float[Tensor, "B *L D"]
    A: Float[Tensor, "D N"]
    B: Float[Tensor, "B *L N"]
    C: Float[Tensor, "B *L N"]
    D: Float[Tensor, " D"]
    z: Float[Tensor, "B *L D"] | None = None
    delta_bias: Float[Tensor, " D"] | None = None
    state: Float[Tensor, "B D N"] | None = None

    def check(self) -> None:
        """Raise ValueError if the shapes do not match."""
        channels, states = self.A.shape
        if self.x.shape[-1] != channels:
            raise ValueError(f"x has {self.x.shape[-1]} channels and A has {channels}: they must agree")
        for name, tensor in (("B", self.B), ("C", self.C)):
            if tensor.shape != (*self.x.shape[:-1], states):
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}; it must be that of x, but with {states} (A's states) last"
                )
        like_x, channel = tuple(self.x.shape), (channels,)
        wanted: dict[str, tuple[int, ...]] = {"delta": like_x, "z": like_x, "D": channel, "delta_bias": channel}
        wanted["state"] = (self.x.shape[0], channels, states)
        for name, shape in wanted.items():
            given: Tensor | None = getattr(self, name)
            if given is not None and given.shape != shape:
                raise ValueError(f"{name} has shape {tuple(given.shape)}; it must be {shape}")

    def of_one_step(self) -> ScanInputs:
        """The inputs of a single step with a time axis added."""
        x, delta, B, C = (tensor[:, None] for tensor in (self.x, self.delta, self.B, self.C))
        return self._replace(x=x, delta=delta, B=B, C=C, z=None if self.z is None else self.z[:, None])
