"""One pre-norm Transformer block that sees the whole text, with sinusoidal positions added (Vaswani et al. 2017)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.heads.head import Head, HeadShape

HEADS = 2
SLOWEST = 10_000.0


class TransformerBlock(Head):
    """Its model width is an even number near `width`, its inner width four times `width`."""

    pools = ("mean", "max", "first", "last")
    reads_order = True

    def __init__(self, shape: HeadShape) -> None:
        d_model = max(HEADS, shape.width - shape.width % HEADS)
        super().__init__(shape, d_model)
        self.project = nn.Linear(shape.d_states, d_model)
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(d_model) for _ in range(3))
        self.qkv, self.merge = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * shape.width), nn.Linear(4 * shape.width, d_model)

    def features(self, states_BxLxD: Tensor, mask_BxL: Tensor) -> Tensor:
        x_BxLxM = self.project(states_BxLxD)
        x_BxLxM = x_BxLxM + _positions(x_BxLxM)
        x_BxLxM = x_BxLxM + self._attended(self.norm_1(x_BxLxM), mask_BxL)
        return self.norm_3(x_BxLxM + self.down(F.gelu(self.up(self.norm_2(x_BxLxM)))))

    def _attended(self, x_BxLxM: Tensor, mask_BxL: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x_BxLxM).chunk(3, -1))
        seen_BxHxLxE = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_BxL[:, None, None])
        return self.merge(seen_BxHxLxE.transpose(1, 2).flatten(2))


def _positions(x_BxLxM: Tensor) -> Tensor:
    length, d_model = x_BxLxM.shape[1:]
    rate_E = SLOWEST ** -(torch.arange(0, d_model, 2, device=x_BxLxM.device) / d_model)
    angle_LxE = torch.arange(length, device=x_BxLxM.device)[:, None] * rate_E
    return torch.cat([angle_LxE.sin(), angle_LxE.cos()], -1).to(x_BxLxM.dtype)


HEAD = TransformerBlock
