"""Pooling: one vector from the features of a text's tokens, without its padding.

Axes: B texts, L tokens, F features.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def lengths(mask_BxL: Tensor) -> Tensor:
    return mask_BxL.sum(1)


def mean(x_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
    return x_BxLxF.masked_fill(~mask_BxL[..., None], 0).sum(1) / lengths(mask_BxL)[:, None]


def largest(x_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
    return x_BxLxF.masked_fill(~mask_BxL[..., None], -torch.inf).amax(1)


def first(x_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
    return x_BxLxF[:, 0]


def last(x_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
    return x_BxLxF[torch.arange(len(x_BxLxF), device=x_BxLxF.device), lengths(mask_BxL) - 1]


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": mean, "max": largest, "first": first, "last": last}


def reversed_texts(x_BxLxF: Tensor, mask_BxL: Tensor) -> Tensor:
    """Reverse each text within its own length; padding stays in place."""
    place_L = torch.arange(x_BxLxF.shape[1], device=x_BxLxF.device)
    from_end_BxL = lengths(mask_BxL)[:, None] - 1 - place_L
    source_BxL = torch.where(mask_BxL, from_end_BxL, place_L)
    return x_BxLxF.gather(1, source_BxL[..., None].expand_as(x_BxLxF))
