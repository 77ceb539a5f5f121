"""The base of heads: a head reads the token states of a text, and gives a score for each label.

Axes: B texts, L tokens of the longest, D width of the states, F features of a token, P features of a text, O outputs.
Texts are padded on the right; `mask_BxL` is true at their tokens.  Padding must not change the scores.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.heads.pooling import POOLS


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """The sizes that a head is built with.

    width: the number of parameters grows with it.  pool: one of the head's `pools`, "" if it has none.
    """

    d_states: int
    d_out: int
    width: int
    pool: str = ""


class Learner(nn.Module):
    """A module that is trained: a head, or a head with the model below it."""

    def forward(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        """Scores of each text's labels, BxO."""
        raise NotImplementedError(f"{type(self).__name__} has no forward()")

    def token_scores(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        """Scores of each token's labels, BxLxO."""
        raise NotImplementedError(f"{type(self).__name__} has no token_scores()")

    def parameter_groups(self, rate: float) -> list[dict[str, Any]]:
        """Groups for the optimiser; each has its own learning rate `lr`, and its gradients are clipped together."""
        return [{"params": list(self.parameters()), "lr": rate}]

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Trained parameters by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


class Head(Learner):
    """Base of all heads.  A subclass builds its layers in `__init__` and defines `features`.

    pools: ways in which a text's features become one vector, the default first; empty if the head has its own way.
    reads_order: whether the order of the states can change the scores.
    labels_tokens: whether it can score every token, and not only whole texts.
    d_features: input width of `out`; 0 means `width`.

    Every head first normalises the states (layer norm without weights), because models differ widely in scale.
    """

    pools: ClassVar[tuple[str, ...]] = ("mean", "max", "first", "last")
    reads_order: ClassVar[bool]
    labels_tokens: ClassVar[bool] = True

    def __init__(self, shape: HeadShape, d_features: int = 0) -> None:
        super().__init__()
        self.shape = shape
        self.out = nn.Linear(d_features or shape.width, shape.d_out)

    def features(self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b l f"]:
        """Features of every token, of which one vector per text is pooled."""
        raise NotImplementedError(f"{type(self).__name__} has no features()")

    def token_features(
        self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l p"]:
        """Features of every token, for labels of tokens."""
        return self.features(states_BxLxD, mask_BxL)

    def pooled(self, features_BxLxF: Float[Tensor, "b l f"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b p"]:
        """One vector per text."""
        return POOLS[self.shape.pool](features_BxLxF, mask_BxL)

    def forward(self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]) -> Float[Tensor, "b o"]:
        """Scores of each text's labels."""
        return self.out(self.pooled(self.features(normalised(states_BxLxD), mask_BxL), mask_BxL))

    def token_scores(
        self, states_BxLxD: Float[Tensor, "b l d"], mask_BxL: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l o"]:
        """Scores of each token's labels."""
        return self.out(self.token_features(normalised(states_BxLxD), mask_BxL))

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def normalised(states_BxLxD: Tensor) -> Tensor:
    return F.layer_norm(states_BxLxD, states_BxLxD.shape[-1:])
