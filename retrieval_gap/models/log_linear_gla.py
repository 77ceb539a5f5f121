"""Log-linear GLA: gated linear attention with one state for each block of 1, 2, 4, ... past tokens.

Axes: B batch, L time, D model width, H heads, K key width, V value width of a head, M blocks (block m has 2^m tokens),
T tokens of a stretch of whole chunks, N chunks, C tokens of a chunk (in a product over two times: I for the later, J
for the earlier).

Source: Guo et al. 2025, "Log-Linear Attention" (arXiv 2506.04761), section 3: the tokens before t are split as in a
Fenwick tree, one block for each 1 in the binary number t.  A token reads each block with its own weight: o_t = q_t
(l_t0 k_t v_t' + sum over m of l_tm S_m), S_m the GLA state of the tokens in block m.  With all weights 1 this is GLA.
The state has log2(t) + 1 matrices instead of one: it grows, but slower than any power of the context."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from retrieval_gap.about import About
from retrieval_gap.models.attention import with_swiglus
from retrieval_gap.models.gla import CHUNK, GLAMixer, decays_between, in_chunks
from retrieval_gap.models.mixer import Residual, State
from retrieval_gap.models.step_cost import Count, Work

LEVELS = 20  # weights per token: for itself, and for blocks of up to 2^18 tokens
CHUNK_LEVELS = CHUNK.bit_length() - 1  # blocks smaller than a chunk


@dataclass(frozen=True, kw_only=True)
class LogLinearGLA:
    """`n_layers` pairs of log-linear gated linear attention and SwiGLU.

    conv: width of a short convolution before the first of each pair; None: no convolution.
    """

    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int = 4
    conv: int | None = None

    def layers(self) -> list[Residual]:
        mixers = (LogLinearGLAMixer(self.d_model, self.n_heads) for _ in range(self.n_layers))
        return with_swiglus(mixers, self.d_model, self.d_ff, self.conv)


ABOUT = About(name="Log-linear GLA", state="grows", slot=9)
SIZES = {
    "tiny": LogLinearGLA(d_model=64, d_ff=64, n_layers=3),
    "0.5m": LogLinearGLA(d_model=96, d_ff=200, n_layers=5),
    "1m": LogLinearGLA(d_model=128, d_ff=340, n_layers=5),
    "2m": LogLinearGLA(d_model=128, d_ff=340, n_layers=10),
}


@dataclass(frozen=True)
class Blocks:
    """The states of the blocks, zero for an absent block; and the number of tokens read."""

    s_BxMxHxKxV: Tensor
    length: int = 0

    def tensors(self) -> tuple[Tensor]:
        return (self.s_BxMxHxKxV,)

    def select(self, rows_R: Tensor) -> "Blocks":
        return Blocks(self.s_BxMxHxKxV.index_select(0, rows_R), self.length)


@dataclass(frozen=True)
class StaticBlocks:
    """`Blocks` in storage of fixed size, with the number of tokens in a tensor, for a CUDA graph."""

    s_BxMxHxKxV: Tensor
    position: Tensor

    def tensors(self) -> tuple[Tensor]:
        return (self.s_BxMxHxKxV,)

    def narrow(self, rows: int, capacity: int) -> "StaticBlocks":
        return StaticBlocks(self.s_BxMxHxKxV[:rows, : capacity.bit_length()], self.position)


class LogLinearGLAMixer(GLAMixer):
    """GLA (gla.py) over blocks; a token's weights lie in (0, 2), around 1 at the start.

    Raises ValueError if `d_model` does not split into heads of even width; on reading, at 2^(LEVELS - 1) tokens.
    """

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__(d_model, n_heads)
        self.level_proj = nn.Linear(d_model, LEVELS * n_heads, bias=False)
        nn.init.normal_(self.level_proj.weight, std=d_model**-0.5)

    def work(self, context: Count) -> Work:
        """That of GLA, with a decay and a read for each block of the context: one for each power of two."""
        once, states = super().work(context), self._zeros(1, 1).numel()
        blocks = max(1.0, math.log2(max(1, context)))
        return Work(flops=once.flops + 3 * states * (blocks - 1), floats=once.floats, kernels=once.kernels)

    def init_state(self, batch: int) -> State:
        return Blocks(self._zeros(batch, 0))

    def static_state(self, batch: int, capacity: int, position: Tensor) -> State:
        return StaticBlocks(self._zeros(batch, capacity.bit_length()), position)

    def forward(self, x_BxLxD: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        q, k, v, log_a, g_BxLxD = self._project(x_BxLxD)
        o_BxLxHxV, _ = log_linear_attention(q, k, v, log_a, self._weights(x_BxLxD), [])
        return self._out(o_BxLxHxV, g_BxLxD)

    def prefill(self, x_BxLxD: Float[Tensor, "b l d"], state: State) -> tuple[Float[Tensor, "b l d"], State]:
        """Read whole chunks in parallel, and the tokens before the first and after the last one by one."""
        *qkva, g_BxLxD = self._project(x_BxLxD)
        tensors = [*qkva, self._weights(x_BxLxD)]
        length, outputs, at = x_BxLxD.shape[1], [], 0
        while at < length:
            whole = (length - at) // CHUNK * CHUNK
            if state.length % CHUNK == 0 and whole:
                o_BxTxHxV, state = _read_chunks([t[:, at : at + whole] for t in tensors], state)
                outputs.append(o_BxTxHxV)
                at += whole
            else:
                o_BxHxV, state = _read_token([t[:, at] for t in tensors], state)
                outputs.append(o_BxHxV[:, None])
                at += 1
        return self._out(torch.cat(outputs, 1), g_BxLxD), state

    def step(self, x_BxD: Float[Tensor, "b d"], state: State) -> tuple[Float[Tensor, "b d"], State]:
        *qkva, g_BxD = self._project(x_BxD)
        o_BxHxV, state = _read_token([*qkva, self._weights(x_BxD)], state)
        return self._out(o_BxHxV, g_BxD), state

    def _zeros(self, batch: int, blocks: int) -> Tensor:
        weight, width = self.out_proj.weight, self.out_proj.in_features // self.n_heads
        return weight.new_zeros(batch, blocks, self.n_heads, width // 2, width)

    def _weights(self, x: Tensor) -> Tensor:
        """The weights of the token itself and of each block, per head."""
        return 2 * self.level_proj(x).unflatten(-1, (self.n_heads, LEVELS)).sigmoid()


def log_linear_attention(
    q_BxLxHxK: Float[Tensor, "b l h k"],
    k_BxLxHxK: Float[Tensor, "b l h k"],
    v_BxLxHxV: Float[Tensor, "b l h v"],
    log_a_BxLxHxK: Float[Tensor, "b l h k"],
    w_BxLxHxM: Float[Tensor, "b l h m"],
    chunks: list[Float[Tensor, "b h k v"] | None],
) -> tuple[Float[Tensor, "b l h v"], list[Float[Tensor, "b h k v"] | None]]:
    """Read tokens in chunks, after the blocks of `chunks`: number m has 2^m chunks, or is None.

    Returns the outputs, and the blocks after the last chunk, which is padded if the length is no multiple of CHUNK.
    Two tokens of a chunk have the weight of block m if m is the highest bit in which their positions differ.
    Raises ValueError for a context too long for the weights.
    """
    length = q_BxLxHxK.shape[1]
    q, k, v, log_a, w = (in_chunks(t) for t in (q_BxLxHxK, k_BxLxHxK, v_BxLxHxV, log_a_BxLxHxK, w_BxLxHxM))
    decay_IxJxK = decays_between(log_a)
    place_C = torch.arange(CHUNK, device=q.device)
    differ_IxJ = place_C[:, None] ^ place_C
    level_IxJ = sum((differ_IxJ >= 1 << m).long() for m in range(CHUNK_LEVELS))
    scores_IxJ = torch.einsum("...ik,...ijk->...ij", q, k[..., None, :, :] * decay_IxJxK)
    o_NxBxHxCxV = (scores_IxJ * w[..., place_C[:, None], level_IxJ]) @ v
    brought_NxBxHxKxV = (k * decay_IxJxK[..., -1, :, :]).mT @ v
    since_start_NxBxHxCxK = log_a.cumsum(3).exp()
    q_in, read = q * since_start_NxBxHxCxK, sum(1 << m for m, s in enumerate(chunks) if s is not None)
    _check_length((read + len(q)) * CHUNK)
    outputs = []
    for n in range(len(q)):
        o_BxHxCxV = o_NxBxHxCxV[n]
        for m, s_BxHxKxV in enumerate(chunks):
            if s_BxHxKxV is not None:
                o_BxHxCxV = o_BxHxCxV + w[n, ..., CHUNK_LEVELS + 1 + m, None] * (q_in[n] @ s_BxHxKxV)
        outputs.append(o_BxHxCxV)
        decay_BxHxKx1 = since_start_NxBxHxCxK[n, :, :, -1, :, None]
        chunks = _carried([None if s is None else s * decay_BxHxKx1 for s in chunks], brought_NxBxHxKxV[n])
    return torch.stack(outputs, 1).transpose(2, 3).flatten(1, 2)[:, :length], chunks


def _carried(blocks: list[Tensor | None], added: Tensor) -> list[Tensor | None]:
    """The blocks with one more chunk, merged as in adding 1 to a binary number."""
    for m, block in enumerate(blocks):
        if block is None:
            return [*[None] * m, added, *blocks[m + 1 :]]
        added = added + block
    return [*[None] * len(blocks), added]


def _read_chunks(tensors: list[Tensor], state: Blocks) -> tuple[Tensor, Blocks]:
    """Read a stretch of whole chunks that follows whole chunks; its outputs, and the blocks after it."""
    before = range(CHUNK_LEVELS, state.length.bit_length())
    chunks = [state.s_BxMxHxKxV[:, m] if state.length >> m & 1 else None for m in before]
    q, k, v, log_a, w = tensors
    o_BxTxHxV, chunks = log_linear_attention(q, k, v, log_a, w, chunks)
    empty = torch.zeros_like(next(s for s in chunks if s is not None))
    blocks = [empty] * CHUNK_LEVELS + [empty if s is None else s for s in chunks]
    return o_BxTxHxV, Blocks(torch.stack(blocks, 1), state.length + q.shape[1])


def _read_token(tensors: list[Tensor], state: Blocks | StaticBlocks) -> tuple[Tensor, Blocks | StaticBlocks]:
    """Read one token; its output, and the blocks with it.  Adding 1 to the binary length turns the lowest 0, number i,
    into 1: the blocks below i and the token become block i."""
    q, k, v, log_a, w = tensors
    s_BxMxHxKxV = state.s_BxMxHxKxV
    if isinstance(state, Blocks):
        _check_length(state.length + 1)
        missing = (state.length + 1).bit_length() - s_BxMxHxKxV.shape[1]
        s_BxMxHxKxV = F.pad(s_BxMxHxKxV, (0, 0, 0, 0, 0, 0, 0, max(0, missing)))
        grown: Tensor | int = (state.length ^ (state.length + 1)).bit_length() - 1
    else:
        grown = ((state.position ^ (state.position + 1)) + 1).double().log2().round().long() - 1
    s_BxMxHxKxV = s_BxMxHxKxV * log_a.exp()[:, None, ..., None]
    kv_BxHxKxV = k[..., None] * v[..., None, :]
    w_BxMxHx1 = w[..., 1 : 1 + s_BxMxHxKxV.shape[1]].movedim(-1, 1)[..., None]
    read_BxMxHxV = (q[:, None, ..., None, :] @ s_BxMxHxKxV)[..., 0, :]
    own_BxHxV = w[..., :1] * (q[..., None, :] @ kv_BxHxKxV)[..., 0, :]
    o_BxHxV = own_BxHxV + (w_BxMxHx1 * read_BxMxHxV).sum(1)

    number_M = torch.arange(s_BxMxHxKxV.shape[1], device=s_BxMxHxKxV.device)[:, None, None, None]
    joined_BxHxKxV = kv_BxHxKxV + (s_BxMxHxKxV * (number_M < grown)).sum(1)
    s_BxMxHxKxV = s_BxMxHxKxV * (number_M > grown) + joined_BxHxKxV[:, None] * (number_M == grown)
    if isinstance(state, Blocks):
        return o_BxHxV, Blocks(s_BxMxHxKxV, state.length + 1)
    return o_BxHxV, StaticBlocks(s_BxMxHxKxV, state.position)


def _check_length(length: int) -> None:
    if length >= 1 << (LEVELS - 1):
        raise ValueError(f"log-linear GLA has weights for contexts of less than {1 << (LEVELS - 1)} tokens")
