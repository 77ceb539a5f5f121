"""A residual Mamba layer on CPU as PyTorch functions: one kernel forward, one backward, one for a decode step.

Legend: B batch, L time, D model width, I inner width, N states per channel, R rank of delta, T columns of B, C and
delta (delta's padded to whole vectors), P items of a kernel, each with its own part of the weights' gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from retrieval_gap.kernels.causal_conv1d.naive import last_inputs
from retrieval_gap.kernels.cpu import LANES
from retrieval_gap.kernels.cpu.elementary import LOG2_E
from retrieval_gap.kernels.cpu.jobs import MOST_ITEMS, Job, mark_written, sum_in_order, thread_count
from retrieval_gap.kernels.mamba import cpu_layer as k
from retrieval_gap.kernels.mamba import cpu_step
from retrieval_gap.kernels.mamba.naive import MambaWeights, State
from retrieval_gap.kernels.selective_scan import cpu_tiles as tiles


def residual_mamba(
    x_BxLxD: Tensor, weights: MambaWeights, eps: float, state: State | None
) -> tuple[Tensor, State | None]:
    """See `retrieval_gap.kernels.mamba`."""
    if state is None:
        return _ResidualMamba.apply(x_BxLxD, eps, *weights), None
    y, kept, ssm = _forward(x_BxLxD.contiguous(), weights, eps, state)
    inputs_BxLxI = kept.xz[..., : kept.u.shape[2]]
    return y, (last_inputs(inputs_BxLxI, state[0], k.BEFORE).contiguous(), ssm)


def residual_mamba_step(x_BxD: Tensor, weights: MambaWeights, state: State, eps: float) -> tuple[Tensor, State]:
    """See `retrieval_gap.kernels.mamba`."""
    x_BxD, (window_BxKxI, ssm_BxIxN) = x_BxD.contiguous(), (tensor.contiguous() for tensor in state)
    mark_written(window_BxKxI, ssm_BxIxN)
    y_BxD, columns, (inner, states) = torch.empty_like(x_BxD), _columns(weights), weights.A.shape
    job = _forward_job(x_BxD[:, None], y_BxD, weights, eps)
    job.flats({tiles.A: weights.A, tiles.STATE: ssm_BxIxN, k.WINDOW: window_BxKxI})
    batch, width = x_BxD.shape
    threads = thread_count(min(MOST_ITEMS, batch), batch * inner * (3 * width + columns + 2 * states) / LANES)
    job.run(cpu_step.step, threads, cpu_step.scratch_bytes(width, inner, columns))
    return y_BxD, (window_BxKxI, ssm_BxIxN)


def _columns(weights: MambaWeights) -> int:
    return 2 * weights.A.shape[1] - weights.dt_proj.shape[1] // -LANES * LANES


def _delta_last(weights: MambaWeights) -> Tensor:
    """The rows of x_proj for B, for C, then those for delta, padded to whole vectors."""
    rank = weights.dt_proj.shape[1]
    return torch.cat([weights.x_proj[rank:], F.pad(weights.x_proj[:rank], (0, 0, 0, -rank % LANES))])


def _describe(x: Tensor, weights: MambaWeights, eps: float) -> Job:
    """A job with the sizes and the inputs that all passes read."""
    (batch, length, width), (inner, states), rank = x.shape, weights.A.shape, weights.dt_proj.shape[1]
    job = Job(k.FIELDS)
    job.put(tiles.BATCH, batch, length, inner, states, inner)
    job.put(k.ITEMS, min(MOST_ITEMS, batch), width, rank, _columns(weights))
    job.real(k.EPS, eps)
    job.flats({tiles.D: weights.D, tiles.BIAS: weights.dt_bias, k.IN: x, k.GAIN: weights.gain})
    job.flats({k.FILTER: weights.filter.t(), k.FILTER_BIAS: weights.filter_bias, k.W_DT: weights.dt_proj.t()})
    return job


def _forward_job(x: Tensor, y: Tensor, weights: MambaWeights, eps: float) -> Job:
    job = _describe(x, weights, eps)
    job.flats({k.OUT: y, k.W_IN: weights.in_proj.t(), k.W_X: _delta_last(weights).t(), k.W_OUT: weights.out_proj.t()})
    return job


def _put_kept(job: Job, weights: MambaWeights, kept: k.Kept) -> None:
    """Put into the job what the forward pass writes and the backward pass reads."""
    inner, states = weights.A.shape
    job.views({tiles.X: kept.u, tiles.Y: kept.y, tiles.B: kept.dbc, tiles.C: kept.dbc[..., states:]})
    job.views({tiles.Z: kept.xz[..., inner:]})
    job.flats({tiles.A: (weights.A * float(LOG2_E)).t(), tiles.BOUNDARIES: kept.boundaries})
    job.flats({k.KEPT_XZ: kept.xz, k.KEPT_DBC: kept.dbc})


def _operations(x: Tensor, weights: MambaWeights) -> float:
    width, (inner, states) = x.shape[2], weights.A.shape
    return x.shape[0] * x.shape[1] * inner * (3 * width + _columns(weights) + 15 * states) / LANES


def _forward(x: Tensor, weights: MambaWeights, eps: float, state: State | None) -> tuple[Tensor, k.Kept, Tensor]:
    """The output, what the backward pass needs, and the scan's last state, computed only if `state` is given."""
    (batch, length, width), (inner, states) = x.shape, weights.A.shape
    xz, u, dbc, gated = (x.new_empty(batch, length, n) for n in (2 * inner, inner, _columns(weights), inner))
    boundaries = None if state is not None else x.new_empty(batch * -(-length // tiles.CHUNK) * inner * states)
    kept, y, ssm = k.Kept(xz, u, dbc, gated, boundaries), torch.empty_like(x), x.new_empty(batch, states, inner)
    job = _forward_job(x, y, weights, eps)
    _put_kept(job, weights, kept)
    if state is not None:
        job.flats({k.WINDOW: state[0], tiles.STATE: state[1].mT, tiles.STATE_OUT: ssm})
    threads = thread_count(min(MOST_ITEMS, batch), _operations(x, weights))
    job.run(k.forward, threads, k.scratch_bytes(length, width, inner, _columns(weights), states))
    return y, kept, ssm.mT


class _ResidualMamba(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, *given: Tensor) -> Tensor:
        x = x.contiguous()
        y, kept, _ = _forward(x, MambaWeights(*given), eps, None)
        ctx.save_for_backward(x, *given, *kept)
        ctx.eps = eps
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, kept = MambaWeights(*saved[:10]), k.Kept(*saved[10:])
        (batch, length, width), (inner, states), rank = x.shape, weights.A.shape, weights.dt_proj.shape[1]
        items, columns = min(MOST_ITEMS, batch), _columns(weights)
        job, grad_x, padded = _describe(x, weights, ctx.eps), torch.empty_like(x), columns - 2 * states
        _put_kept(job, weights, kept)
        job.flats({k.GRAD_OUT: grad_y, k.GRAD_IN: grad_x, k.W_DT_BACK: F.pad(weights.dt_proj, (0, padded - rank))})
        job.flats({k.W_IN: weights.in_proj, k.W_X: _delta_last(weights), k.W_OUT: weights.out_proj})
        shapes = {
            k.GRAD_GAIN: (items, width), k.GRAD_W_IN: (items, 2 * inner, width),
            k.GRAD_FILTER: (items, k.TAPS + 1, inner), k.GRAD_W_X: (items, columns, inner),
            k.GRAD_W_DT: (items, inner, padded), tiles.GRAD_BIAS: (batch, inner), tiles.GRAD_A: (batch, states, inner),
            tiles.GRAD_D: (batch, inner), k.GRAD_W_OUT: (items, width, inner),
        }  # fmt: skip
        parts = {index: x.new_zeros(shape) for index, shape in shapes.items()}
        job.flats(parts)
        scratch = k.scratch_bytes(length, width, inner, columns, states)
        job.run(k.backward, thread_count(items, 2 * _operations(x, weights)), scratch)
        of_gain, w_in, taps, w_x, w_dt, bias, of_A, of_D, w_out = map(sum_in_order, parts.values())
        w_x = torch.cat([w_x[2 * states : 2 * states + rank], w_x[: 2 * states]])
        of_weights = (of_gain, w_in, taps[: k.TAPS].t(), taps[k.TAPS], w_x, w_dt[:, :rank], bias, of_A.t(), of_D, w_out)
        return grad_x, None, *of_weights
