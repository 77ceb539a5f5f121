"""What a head is: it reads the token states of a text, and gives a score for each label.

Axes: B texts, L tokens of the longest, D width of the states, F features of a token, P of a text, O outputs.
Texts are filled up on the right; `mask_BxL` is true at their tokens.  What stands behind a text's end must not matter.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.heads.pooling import POOLS


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """What a head is built from.

    width: the number that its parameters grow with.  pool: one of the head's `pools`, "" where it has none.
    """

    d_states: int
    d_out: int
    width: int
    pool: str = ""


class Learner(nn.Module):
    """What is trained: a head, or a head and the model below it."""

    def forward(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        """Scores of each text's labels, BxO."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def token_scores(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        """Scores of each token's labels, BxLxO."""
        raise NotImplementedError(f"{type(self).__name__} has no token_scores()")

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """For the optimiser; each group has its own learning rate `lr`, and its gradients are clipped together."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """By name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


class Head(Learner):
    """Base of all heads.  A subclass builds its layers in `__init__` and writes `features`.

    pools: how a text's features become one vector, the default first; none where the head has a way of its own.
    reads_order: whether other orders of the same states can give other scores.
    labels_tokens: whether it can score every token, and not only whole texts.
    d_features: what `out` reads of a text or token; 0 means `width`.

    States are normalised first (layer norm without weights), the same for every head: models differ widely in scale.
    """

    pools: ClassVar[tuple[str, ...]] = ("mean", "max", "first", "last")
    reads_order: ClassVar[bool]
    labels_tokens: ClassVar[bool] = True

    def __init__(self, shape: HeadShape, d_features: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.out = nn.Linear(d_features or shape.width, shape.d_out)

    def features(self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b l f"]:
        """Of every token."""
        raise NotImplementedError(f"{type(self).__name__} has no features()")

    def pooled(self, features_BxLxF: Float[Tensor, "b l f"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b p"]:
        """One vector for a text."""
        return POOLS[self.shape.pool](features_BxLxF, mask_BxL)

    def forward(self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b o"]:
        """Scores of each text's labels."""
        return self.out(self.pooled(self.features(normalised(states_BxLxD), mask_BxL), mask_BxL))

    def token_scores(
        self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l o"]:
        """Scores of each token's labels."""
        return self.out(self.features(normalised(states_BxLxD), mask_BxL))

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def normalised(states_BxLxD: Tensor) -> Tensor:
    return F.layer_norm(states_BxLxD, states_BxLxD.shape[-1:])
