"""The two residual layers of a LLaMA block, x + f(norm(x)), each in one kernel: intermediate results stay in cache.

Legend: B batch, L time, R rows (any number of leading axes), D model width, F feed-forward width, E head width.
"""

from __future__ import annotations

from functools import cache, partial

from jaxtyping import Float
from torch import Tensor

from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.dispatch import check_shapes, choose, cpu_and_naive
from retrieval_gap.kernels.residual import naive
from retrieval_gap.kernels.residual.naive import AttentionWeights, Cache

__all__ = ["AttentionWeights", "Cache", "backends", "residual_attention", "residual_attention_step", "residual_swiglu"]

# Below this size PyTorch's own operations cost less than a kernel call.
SMALLEST_COMPILED = 8_192
SMALLEST_STEP = 1_024
# The attention kernel keeps a whole sequence and its scores in cache.
LONGEST = 1024


def _refuse(tensors: list[Tensor]) -> str | None:
    width = next((size for tensor in tensors[2:] for size in tensor.shape[-1:] if size % LANES), None)
    return None if width is None else f"it is made for widths of a multiple of {LANES}, not {width}"


backends = cache(partial(cpu_and_naive, f"{__name__}.cpu", naive, _refuse))


def _check_cache(x: Tensor, wanted_rope: tuple[int, ...], rope: Tensor, cache: Cache) -> None:
    """Raise ValueError for caches or angles that do not fit: kernels use raw addresses and cannot notice."""
    for kept in cache:
        shape = tuple(kept.shape)
        if kept.stride()[2:] != (shape[3], 1):
            raise ValueError(f"a cache of shape {shape} has strides {kept.stride()}: its rows lie apart")
        if shape != tuple(cache[0].shape) or (shape[0], shape[1] * shape[3]) != (len(x), x.shape[-1]):
            raise ValueError(f"a cache of shape {shape} does not fit x of shape {tuple(x.shape)}, or the other cache")
    check_shapes({"rope": (rope, wanted_rope)})


def _check_attention(x: Tensor, weights: AttentionWeights) -> None:
    width = x.shape[-1]
    shapes = {"gain": (width,), "qkv": (3 * width, width), "out": (width, width)}
    check_shapes({name: (getattr(weights, name), shape) for name, shape in shapes.items()})


def residual_swiglu(
    x_RxD: Float[Tensor, "*r d"],
    gain_D: Float[Tensor, " d"],
    gate_up_2FxD: Float[Tensor, "2*f d"],
    down_DxF: Float[Tensor, "d f"],
    eps: float = 1e-5,
    *,
    backend: str = "auto",
) -> Float[Tensor, "*r d"]:
    """x + down (silu(gate n) * up n), with n = RMSNorm(x); `gate_up` holds the rows of gate, then those of up.

    Raises:
        ValueError: for an unknown backend, or weights of the wrong shape.
        RuntimeError: if the named backend cannot run these tensors.
    """
    width, hidden = x_RxD.shape[-1], down_DxF.shape[-1]
    check_shapes(
        {
            "gain": (gain_D, (width,)),
            "gate_up": (gate_up_2FxD, (2 * hidden, width)),
            "down": (down_DxF, (width, hidden)),
        }
    )
    if backend == "auto" and x_RxD.numel() < SMALLEST_COMPILED:
        backend = "naive"
    chosen = choose("a residual SwiGLU", backends(), backend, [x_RxD, gain_D, gate_up_2FxD, down_DxF.t()])
    return chosen.residual_swiglu(x_RxD, gain_D, gate_up_2FxD, down_DxF, eps)


def residual_attention(
    x_BxLxD: Float[Tensor, "b l d"],
    weights: AttentionWeights,
    rope_LxE: Float[Tensor, "l e"],
    eps: float = 1e-5,
    *,
    cache: Cache | None = None,
    backend: str = "auto",
) -> Float[Tensor, "b l d"]:
    """x + out (attention(qkv n)), with n = RMSNorm(x); each position attends to itself and those before.

    rope_LxE: per position the cosines of its angles, then the sines; dimension i of a head is rotated with dimension
    i + E/2 (the half-split layout of the public LLaMA weights).
    cache: of L tokens, for decoding: rotated keys, and values, are written into it, without gradients.  Its tensors may
    be parts of larger ones, if their last two axes are contiguous.

    Raises:
        ValueError: for an unknown backend, for weights, angles or a cache of the wrong shape, or a cache with other
            strides.
        RuntimeError: if the named backend cannot run these tensors.
    """
    length = x_BxLxD.shape[1]
    _check_attention(x_BxLxD, weights)
    if len(rope_LxE) != length or x_BxLxD.shape[2] % rope_LxE.shape[1]:
        raise ValueError(f"rope of shape {tuple(rope_LxE.shape)} does not fit x of shape {tuple(x_BxLxD.shape)}")
    if cache is not None:
        _check_cache(x_BxLxD, (x_BxLxD.shape[1], cache[0].shape[3]), rope_LxE, cache)
        if cache[0].shape[2] != length:
            raise ValueError(f"caches of {cache[0].shape[2]} tokens are given for {length}")
    # A dozen of PyTorch's operations cost more than one kernel call at any size.
    if backend == "auto" and (x_BxLxD.numel() == 0 or length > LONGEST):
        backend = "naive"
    chosen = choose("residual attention", backends(), backend, [x_BxLxD, *weights, rope_LxE, *(cache or ())])
    return chosen.residual_attention(x_BxLxD, weights, rope_LxE, eps, cache)


def residual_attention_step(
    x_BxD: Float[Tensor, "b d"],
    weights: AttentionWeights,
    rope_E: Float[Tensor, " e"],
    cache: Cache,
    eps: float = 1e-5,
    *,
    backend: str = "auto",
) -> Float[Tensor, "b d"]:
    """One decode step of `residual_attention`: writes the token's rotated key and value as the last in the cache.

    The cache holds those before.  Without gradients.
    rope_E: the row of `rope_LxE` for the token's position.

    Raises: as `residual_attention`.
    """
    _check_attention(x_BxD, weights)
    _check_cache(x_BxD, (cache[0].shape[3],), rope_E, cache)
    if backend == "auto" and x_BxD.numel() < SMALLEST_STEP:
        backend = "naive"
    tensors = [x_BxD, *weights, rope_E, *cache]
    chosen = choose("residual attention, one step", backends(), backend, tensors)
    return chosen.residual_attention_step(x_BxD, weights, rope_E, cache, eps)
