"""Each compiled kernel beside the plain PyTorch that defines it: forward and backward, same inputs, in turn, minima.

"Autograd through the naive loop" has two rows for the scan. First the loop over time as the public code writes it
(`selective_scan_ref` of mamba_ssm, the slow path of `transformers`): the decays and inputs of all steps and states are
computed first, and each step's slice has a gradient as large as the whole. That is what a user would run instead. Then
our own loop, which computes them step by step and is several times faster; docs/cpu.md explains why no kernel can be
100 times as fast as that one on a core.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.causal_conv1d import causal_conv1d
from retrieval_gap.kernels.mamba import MambaWeights, residual_mamba, residual_mamba_step
from retrieval_gap.kernels.residual import AttentionWeights, residual_attention, residual_swiglu
from retrieval_gap.kernels.residual import naive as plain
from retrieval_gap.kernels.rms_norm import rms_norm
from retrieval_gap.kernels.selective_scan import ScanInputs, selective_scan

from . import least_in_turn

BATCH, LENGTH, LONG, CHANNELS, STATES = 64, 100, 2500, 128, 16


def run() -> Iterator[dict[str, Any]]:
    """Milliseconds of each kernel and of its peer, and how per-token time changes with length."""
    inputs = _scan_inputs(BATCH, LENGTH)
    public = "autograd through the naive loop, as the public code writes it"
    yield _row("selective scan, forward and backward", _scan, inputs, 2, peer=(public, _laid_out_first))
    yield _row("selective scan, forward and backward", _scan, inputs, 3)
    yield _row("causal convolution, forward and backward", causal_conv1d, _convolution_inputs(), 5)
    yield _row("RMSNorm, forward and backward", rms_norm, [_normal(BATCH, LENGTH, 64), _normal(64)], 10)
    compiled = "torch.compile of our plain PyTorch"
    for name, layer, given, peer in (
        ("a LLaMA block's SwiGLU layer", residual_swiglu, _swiglu_inputs(), partial(plain.residual_swiglu, eps=1e-5)),
        ("a LLaMA block's attention layer", _attention_layer, _attention_inputs(), _plain_attention),
    ):
        yield _row(f"{name}, forward and backward", layer, given, 10)
        yield _row(f"{name}, forward and backward", layer, given, 10, peer=(compiled, torch.compile(peer)))
    yield _row("a Mamba layer, forward and backward", _mamba_layer, _mamba_inputs(), 3)
    yield _row("a Mamba layer, decode step", _mamba_step, _mamba_step_inputs(), 30, training=False)
    yield _long_sequences()


def _row(
    name: str,
    kernel: Callable[..., Any],
    inputs: list[Tensor],
    peer_runs: int,
    *,
    training: bool = True,
    peer: tuple[str, Callable[..., Any]] | None = None,
) -> dict[str, Any]:
    ours = _task(partial(kernel, backend="auto"), inputs, training)
    against, theirs_of = peer or ("our plain PyTorch", partial(kernel, backend="naive"))
    theirs = _task(theirs_of, inputs, training)
    ours_ms, theirs_ms = _interleaved(ours, theirs, peer_runs)
    size = "x".join(str(n) for n in inputs[0].shape)
    return _result(f"{name}, {size}", ours_ms, theirs_ms, "ms", against)


def _scan(*given: Tensor, backend: str = "auto") -> tuple[Tensor, Tensor]:
    return selective_scan(ScanInputs(*given), backend=backend)


def _laid_out_first(
    x_BxLxD: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, z: Tensor, bias: Tensor
) -> Tensor:
    """The scan as `selective_scan_ref` of mamba_ssm and the slow path of `transformers` order their work."""
    step_BxLxD = F.softplus(delta + bias)
    decay_BxLxDxN = torch.exp(torch.einsum("bld,dn->bldn", step_BxLxD, A))
    input_BxLxDxN = torch.einsum("bld,bln,bld->bldn", step_BxLxD, B, x_BxLxD)
    state_BxDxN, outputs = torch.zeros_like(input_BxLxDxN[:, 0]), []
    for t in range(x_BxLxD.shape[1]):
        state_BxDxN = decay_BxLxDxN[:, t] * state_BxDxN + input_BxLxDxN[:, t]
        outputs.append(torch.einsum("bdn,bn->bd", state_BxDxN, C[:, t]))
    return (torch.stack(outputs, 1) + x_BxLxD * D) * F.silu(z)


def _long_sequences() -> dict[str, Any]:
    """The same number of tokens in sequences of 2500: microseconds per token, beside those of sequences of 100."""
    batch = BATCH * LENGTH // LONG
    long_ms, short_ms = _interleaved(
        _task(_scan, _scan_inputs(batch, LONG), True),
        _task(_scan, _scan_inputs(batch * LONG // LENGTH, LENGTH), True),
        10,
    )
    per_token = 1e3 / (batch * LONG)
    name = f"selective scan a token, length {LONG}"
    return _result(name, long_ms * per_token, short_ms * per_token, "us", f"the same kernel at length {LENGTH}")


def _result(name: str, ours: float, theirs: float, unit: str, against: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "ratio": theirs / ours, "unit": unit, "against": against}


def _task(kernel: Callable[..., Any], inputs: list[Tensor], training: bool) -> Callable[[], None]:
    leaves = [tensor.clone().requires_grad_(training) for tensor in inputs]

    def once() -> None:
        with torch.set_grad_enabled(training):
            outputs = kernel(*leaves)
            y = outputs if isinstance(outputs, Tensor) else outputs[0]
            if training:
                torch.autograd.grad(y, leaves, torch.ones_like(y))

    return once


def _interleaved(ours: Callable[[], None], theirs: Callable[[], None], rounds: int) -> tuple[float, float]:
    """The least milliseconds of each."""
    ours()  # compiles
    theirs()
    ours_s, theirs_s = least_in_turn(ours, theirs, rounds)
    return 1e3 * ours_s, 1e3 * theirs_s


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def _scan_inputs(batch: int, length: int) -> list[Tensor]:
    """x, delta, A, B, C, D, z, delta_bias: A as Mamba initialises it, steps as small as Mamba's."""
    wide, narrow = (batch, length, CHANNELS), (batch, length, STATES)
    A_DxN = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    return [
        *(_normal(*wide), 0.5 * _normal(*wide), A_DxN, _normal(*narrow), _normal(*narrow), torch.ones(CHANNELS)),
        *(_normal(*wide), torch.full((CHANNELS,), -4.0)),
    ]


def _convolution_inputs() -> list[Tensor]:
    return [_normal(BATCH, LENGTH, CHANNELS), _normal(CHANNELS, 4), _normal(CHANNELS)]


def _swiglu_inputs() -> list[Tensor]:
    """x, the norm's gain, and the two weights, of the Transformer's size 0.5m."""
    return [_normal(BATCH, LENGTH, 64), torch.ones(64), _normal(2 * 256, 64) / 8, _normal(64, 256) / 16]


def _attention_inputs() -> list[Tensor]:
    return [_normal(BATCH, LENGTH, 64), torch.ones(64), _normal(3 * 64, 64) / 8, _normal(64, 64) / 8]


# Four heads of 16. The angles are arbitrary: all cost the same.
ROPE_LxE = torch.linspace(-1, 1, 16 * LENGTH).view(LENGTH, 16)


def _attention_layer(x_BxLxD: Tensor, *weights: Tensor, backend: str) -> Tensor:
    return residual_attention(x_BxLxD, AttentionWeights(*weights), ROPE_LxE[: x_BxLxD.shape[1]], backend=backend)


def _plain_attention(x_BxLxD: Tensor, *weights: Tensor) -> Tensor:
    return plain.residual_attention(x_BxLxD, AttentionWeights(*weights), ROPE_LxE[: x_BxLxD.shape[1]], 1e-5, None)


def _mamba_inputs() -> list[Tensor]:
    """x, the norm's gain, and the weights, of Mamba's size 0.5m."""
    _, _, A_DxN, _, _, D_D, _, bias_D = _scan_inputs(1, 1)
    filters, deltas = (_normal(CHANNELS, 4) / 2, _normal(CHANNELS)), (_normal(36, CHANNELS) / 11, _normal(CHANNELS, 4))
    weights = (_normal(2 * CHANNELS, 64) / 8, *filters, *deltas, bias_D, A_DxN, D_D, _normal(64, CHANNELS) / 11)
    return [_normal(BATCH, LENGTH, 64), torch.ones(64), *weights]


def _mamba_layer(x_BxLxD: Tensor, *weights: Tensor, backend: str) -> Tensor:
    return residual_mamba(x_BxLxD, MambaWeights(*weights), backend=backend)[0]


def _mamba_step_inputs() -> list[Tensor]:
    x_BxLxD, *weights = _mamba_inputs()
    return [x_BxLxD[:, 0].contiguous(), *weights, _normal(BATCH, 3, CHANNELS), _normal(BATCH, CHANNELS, STATES)]


def _mamba_step(x_BxD: Tensor, *given: Tensor, backend: str) -> Tensor:
    return residual_mamba_step(x_BxD, MambaWeights(*given[:-2]), (given[-2], given[-1]), backend=backend)[0]
