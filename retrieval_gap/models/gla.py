"""GLA: gated linear attention followed by a SwiGLU; the state is one matrix per head, whatever the context.

Axes: B batch, L time, D model width, H heads, K key width, V value width of a head, N chunks, C tokens of a chunk (in a
product over two times: I for the later one, J for the earlier).
Source: Yang et al. 2023 (arXiv 2312.06635), section 4: the recurrence, its chunkwise form, and the layer.
Sizes are ours, with about as many parameters as the other architectures.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.about import About
from retrieval_gap.models.attention import with_swiglus
from retrieval_gap.models.mixer import Mixer, Residual, RMSNorm, State
from retrieval_gap.models.step_cost import Count, Work

CHUNK = 16
GATE_RANK = 16
GATE_TEMPERATURE = 16.0  # of the decay: states forget slowly at first


@dataclass(frozen=True, kw_only=True)
class GLA:
    """`n_layers` pairs of gated linear attention and SwiGLU.

    conv: width of a short convolution before the first of each pair; None: no convolution.
    """

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int = 4
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (GLAMixer(self.d_model, self.n_heads) for _ in range(self.n_layers))
        return with_swiglus(mixers, self.d_model, self.d_ff, self.conv)


ABOUT = About(name="GLA", state="fixed", slot=5)
SIZES = {
    "tiny": GLA(d_model=64, d_ff=88, n_layers=3),
    "0.5m": GLA(d_model=96, d_ff=228, n_layers=5),
    "1m": GLA(d_model=128, d_ff=368, n_layers=5),
    "2m": GLA(d_model=128, d_ff=368, n_layers=10),
}


class GLAMixer(Mixer):
    """o_t = q_t S_t / sqrt(K), S_t = diag(a_t) S_{t-1} + k_t v_t, with a decay a_t in (0, 1) for each key channel.

    Keys and queries have half the model's width, values all of it.  Raises ValueError if the heads do not divide half
    the width.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        if d_model % (2 * n_heads):
            raise ValueError(f"d_model = {d_model} does not split into {n_heads} heads of even width")
        self.n_heads, d_key = n_heads, d_model // 2
        self.qkvg_proj = nn.Linear(d_model, 2 * d_key + 2 * d_model, bias=False)
        self.decay_proj = nn.Sequential(nn.Linear(d_model, GATE_RANK, bias=False), nn.Linear(GATE_RANK, d_key))
        self.norm = RMSNorm(d_model // n_heads)
        self.out_proj = nn.Linear(d_model, d_model, bias=False)
        for linear in (self.qkvg_proj, self.out_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def init_state(self, batch: int) -> State:
        weight, width = self.out_proj.weight, self.out_proj.in_features // self.n_heads
        return (weight.new_zeros(batch, self.n_heads, width // 2, width),)

    def work(self, context: Count) -> Work:
        """Five operations per state element (decay, k v, their sum, two for q S); reads q, k, v, decays and gate."""
        d_model = self.out_proj.in_features
        states = d_model * (d_model // self.n_heads) // 2
        return Work(flops=5 * states, floats=(3 * d_model // 2 + 2 * d_model) + d_model, kernels=2)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        q, k, v, log_a, g_BxLxD = self._project(x_BxLxD)
        o_BxLxHxV, s_BxHxKxV = gated_linear_attention(q, k, v, log_a, state[0])
        return self._out(o_BxLxHxV, g_BxLxD), (s_BxHxKxV,)

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        q, k, v, log_a, g_BxD = self._project(x_BxD)
        s_BxHxKxV = state[0] * log_a.exp()[..., None] + k[..., None] * v[..., None, :]
        return self._out((q[..., None, :] @ s_BxHxKxV)[..., 0, :], g_BxD), (s_BxHxKxV,)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Scaled queries, keys, values and log decays, split by head; and the output gate."""
        d_model = x.shape[-1]
        q, k, v, g = self.qkvg_proj(x).split([d_model // 2, d_model // 2, d_model, d_model], -1)
        log_a = F.logsigmoid(self.decay_proj(x)) / GATE_TEMPERATURE
        q, k, v, log_a = (t.unflatten(-1, (self.n_heads, -1)) for t in (q, k, v, log_a))
        return q * q.shape[-1] ** -0.5, k, v, log_a, g

    def _out(self, o: Tensor, g: Tensor) -> Tensor:
        return self.out_proj(self.norm(o).flatten(-2) * F.silu(g))


def gated_linear_attention(
    q_BxLxHxK: Float[Tensor, "b l h k"],
    k_BxLxHxK: Float[Tensor, "b l h k"],
    v_BxLxHxV: Float[Tensor, "b l h v"],
    log_a_BxLxHxK: Float[Tensor, "b l h k"],
    s_BxHxKxV: Float[Tensor, "b h k v"],
) -> tuple[Float[Tensor, "b l h v"], Float[Tensor, "b h k v"]]:
    """The outputs and the last state of `GLAMixer`'s recurrence from the state s, in chunks.

    Within a chunk, what token j added has decayed by exp(sum of log a over j+1..i) when i reads it.
    """
    length = q_BxLxHxK.shape[1]
    q, k, v, log_a = (in_chunks(t) for t in (q_BxLxHxK, k_BxLxHxK, v_BxLxHxV, log_a_BxLxHxK))
    decay_NxBxHxIxJxK = decays_between(log_a)
    scores_NxBxHxIxJ = torch.einsum("...ik,...ijk->...ij", q, k[..., None, :, :] * decay_NxBxHxIxJxK)
    brought_NxBxHxKxV = (k * decay_NxBxHxIxJxK[..., -1, :, :]).mT @ v
    since_start_NxBxHxCxK = log_a.cumsum(3).exp()
    carried = []
    for n in range(len(q)):
        carried.append(s_BxHxKxV)
        s_BxHxKxV = s_BxHxKxV * since_start_NxBxHxCxK[n, :, :, -1, :, None] + brought_NxBxHxKxV[n]
    o_NxBxHxCxV = scores_NxBxHxIxJ @ v + (q * since_start_NxBxHxCxK) @ torch.stack(carried)
    return o_NxBxHxCxV.permute(1, 0, 3, 2, 4).flatten(1, 2)[:, :length], s_BxHxKxV


def in_chunks(t_BxLxHxK: Tensor) -> Tensor:
    """Cut into chunks, NxBxHxCxK; padded at the end with zeros, which add nothing and make nothing decay."""
    padded = F.pad(t_BxLxHxK, (0, 0, 0, 0, 0, -t_BxLxHxK.shape[1] % CHUNK))
    return padded.unflatten(1, (-1, CHUNK)).permute(1, 0, 3, 2, 4)


def decays_between(log_a: Float[Tensor, "... c k"]) -> Float[Tensor, "... c c k"]:
    """exp(sum of log a over j+1..i) for tokens j <= i of a chunk, 0 for others.

    Each sum adds its own terms: a difference of two running sums would lose small decays after large ones, and a
    quotient of two products would overflow.
    """
    size = log_a.shape[-2]
    pairs_IxJ = torch.ones(size, size, dtype=torch.bool, device=log_a.device)
    own_terms = log_a[..., :, None, :].masked_fill(pairs_IxJ.triu()[..., None], 0.0)
    return own_terms.cumsum(-3).masked_fill(pairs_IxJ.triu(1)[..., None], -torch.inf).exp()
