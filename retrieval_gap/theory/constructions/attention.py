"""Softmax attention whose heads look up numbers: the key that equals the query, else `[BOS]`.

Axes: B batch, L queries, C keys (positions up to the query's), H heads, E query and key width, W value width,
D directions.

A head's score of a key k for a query q is

    -span * (q - k)^2  +  position, or -position, or nothing

written as a product of vectors, (2 span q, -span q^2, 1, preference) . (k, real, bias, position), where bias holds
-span k^2.  `real` is 0 at `[BOS]`, whose score is the constant -span / 2: a head falls back on it, and since the values
there are 0, a head also shows whether it has found anything.  span is above twice the largest position, so the order
is: equal keys, the preferred first; `[BOS]`; all others.  Scores differ by 1 or more, times a sharpness of O(log n), so
the weights of all keys but the best add up to less than the last bit of a number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from retrieval_gap.models.attention import KVCache
from retrieval_gap.theory.constructions.precision import EXACT, Precision, weight
from retrieval_gap.theory.constructions.residual_stream import Affine, Number, ResidualStream, affine, direction

BOS_FLAG = "is_bos"  # the direction that is 1 at `[BOS]`, 0 elsewhere
POSITION = "position"
SCORES_AT_ONCE = 1 << 16  # scores per chunk, which fits into a processor's cache
_UNSEEN = -(2.0**96)  # the score of a later position: finite, as every number here is
_LOWEST = -700.0  # float64's exp is near its smallest normal number here; lower takes ten times as long
_PREFER = {"earliest": -1.0, "latest": 1.0, "all": 0.0}
_REAL = 1.0 - direction(BOS_FLAG)


@dataclass(frozen=True)
class Lookup:
    """One look-up.

    values: what is written where a key is found, by name; forms that are 0 at `[BOS]`.
    match: pairs (query, key) of numbers that must all be equal; a key is 0 at `[BOS]`.
    where: a flag, 0 at `[BOS]`; only keys with flag 1 count.
    prefer: which of several equal keys to take; "all" takes their mean.
    null: the score of `[BOS]`, in spans: -1/2 is below equal keys, 0 is among them.
    """

    values: Mapping[str, Affine]
    match: Sequence[tuple[Number, Number]] = ()
    where: Affine = field(default_factory=lambda: _REAL)
    prefer: Literal["earliest", "latest", "all"] = "all"
    null: float = -0.5

    def queries(self, span: float) -> list[Affine]:
        """The query vector."""
        squares = sum((query.square for query, _ in self.match), affine(0))
        preference = [affine(_PREFER[self.prefer])] if _PREFER[self.prefer] else []
        return [*(query.value * (2 * span) for query, _ in self.match), squares * -span, affine(1), *preference]

    def keys(self, span: float) -> list[Affine]:
        """The key vector; its products with query vectors are scores."""
        squares = sum((key.square for _, key in self.match), affine(0))
        bias = squares * -span + direction(BOS_FLAG) * (self.null * span) + (self.where - _REAL) * span
        preference = [direction(POSITION)] if _PREFER[self.prefer] else []
        return [*(key.value for _, key in self.match), _REAL, bias, *preference]


class LookupAttention(nn.Module):
    """Causal softmax attention; every head writes its own directions.

    longest: largest number of positions.  Raises ValueError, by `ResidualStream`, for a direction read before written.
    """

    def __init__(self, stream: ResidualStream, heads: Sequence[Lookup], longest: int, precision: Precision) -> None:
        super().__init__()
        self.precision = precision
        span = 2.0 ** (2 * longest).bit_length()
        self.sharpness = sharpness(precision)
        width = max(len(head.keys(span)) for head in heads)
        values = max(len(head.values) for head in heads)
        query, key = ([_padded(form(head, span), width) for head in heads] for form in (Lookup.queries, Lookup.keys))
        value = [_padded(list(head.values.values()), values) for head in heads]
        names = [name for head in heads for name in head.values]
        self.query_HxExD, self.key_HxExD, self.value_HxWxD = (
            weight(torch.stack([stream.rows(forms) for forms in some]), precision) for some in (query, key, value)
        )
        output_NxHxW = torch.zeros(len(names), len(heads), values, dtype=EXACT)
        places = [(h, w) for h, head in enumerate(heads) for w in range(len(head.values))]
        for row_HxW, place in zip(output_NxHxW, places, strict=True):
            row_HxW[place] = 1.0
        self.output_NxHxW = weight(output_NxHxW, precision)
        for name in names:
            stream.add(name)

    def init_state(self, batch: int) -> KVCache:
        heads, width, _ = self.key_HxExD.shape
        k_BxHx0xE = self.key_HxExD.new_empty(batch, heads, 0, width)
        return KVCache(k_BxHx0xE, k_BxHx0xE.new_empty(batch, heads, 0, self.value_HxWxD.shape[1]))

    def forward(
        self, x_BxLxD: Float[Tensor, "b l d"], cache: KVCache, *, last_only: bool = False
    ) -> tuple[Float[Tensor, "b q e"], KVCache]:
        """The stream with the new directions appended, and the cache with these positions appended.

        last_only: compute the last position alone, when no later layer reads the others.
        """
        rounded, start = self.precision.round, cache.length
        cache = cache.append(*(rounded(_by_head(x_BxLxD, w)) for w in (self.key_HxExD, self.value_HxWxD)))
        if last_only:
            start, x_BxLxD = cache.length - 1, x_BxLxD[:, -1:]
        q = rounded(_by_head(x_BxLxD, self.query_HxExD))
        keys, values = cache.tensors()
        rows = max(1, SCORES_AT_ONCE // (keys.shape[0] * keys.shape[1] * keys.shape[2]))
        parts = [
            self._attend(q[:, :, first : first + rows], keys, values, start + first)
            for first in range(0, q.shape[2], rows)
        ]
        found_BxLxHxW = torch.cat(parts, 2).transpose(1, 2)
        written_BxLxN = rounded(found_BxLxHxW.flatten(2) @ self.output_NxHxW.flatten(1).T)
        return torch.cat([x_BxLxD, written_BxLxN], -1), cache

    def _attend(self, q_BxHxLxE: Tensor, k_BxHxCxE: Tensor, v_BxHxCxW: Tensor, start: int) -> Tensor:
        """Weighted means of the values; the first query is at position `start`."""
        rounded, length = self.precision.round, q_BxHxLxE.shape[2]
        seen = start + length
        k_BxHxCxE, v_BxHxCxW = k_BxHxCxE[:, :, :seen], v_BxHxCxW[:, :, :seen]
        score_BxHxLxC = rounded(q_BxHxLxE @ k_BxHxCxE.transpose(2, 3))
        if length > 1:
            later_LxC = torch.ones(length, seen, dtype=torch.bool, device=q_BxHxLxE.device).triu(start + 1)
            score_BxHxLxC.masked_fill_(later_LxC, _UNSEEN)
        below_BxHxLxC = rounded(score_BxHxLxC - score_BxHxLxC.amax(-1, keepdim=True))
        sharp_BxHxLxC = rounded(below_BxHxLxC * self.sharpness)
        power_BxHxLxC = rounded(sharp_BxHxLxC.clamp_(min=_LOWEST).exp_())
        return rounded(rounded(power_BxHxLxC @ v_BxHxCxW) / rounded(power_BxHxLxC.sum(-1, keepdim=True)))


def _by_head(x_BxLxD: Tensor, weight_HxExD: Tensor) -> Tensor:
    """Each head's projection, BxHxLxE."""
    heads, width, _ = weight_HxExD.shape
    return (x_BxLxD @ weight_HxExD.flatten(0, 1).T).unflatten(-1, (heads, width)).transpose(1, 2)


def sharpness(precision: Precision) -> float:
    """The factor of the scores: twice a significand's bits.  Then exp(-sharpness) is below the square of a last bit,
    and all keys but the best together have no weight."""
    return 2.0 * precision.significand


def _padded(forms: list[Affine], count: int) -> list[Affine]:
    return [*forms, *[affine(0)] * (count - len(forms))]
