"""The load of training and decoding on a machine, counted from a model's real modules.

Axes: D model width, I inner width, N states per channel, K conv width, V vocabulary.

Operations: a matrix takes two per entry and token; attention, scan and convolution are counted by their definitions,
causally.  Normalisation, activations and the optimiser count as traffic, not operations.
Traffic: every kernel reads its inputs from memory and writes its output there, in fp32.
Kernels: what one layer launches when norm, convolution, scan, attention and gate are each one fused kernel.
The backward pass costs twice the forward pass, but half of that for a matrix that is not trained (the frozen head).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from retrieval_gap.models import SequenceModel
from retrieval_gap.models.mixer import Mixer, RMSNorm, state_tensors
from retrieval_gap.models.step_cost import Work, measured_work

FLOAT_BYTES = 4
FORWARD_AND_BACKWARD = 3
# Forward and backward read the weights and a gradient is written; AdamW reads weight, gradient and two moments and
# writes three of the four.
WEIGHT_PASSES = 10
STEP_KERNELS = 12  # copy of the batch, gather, loss, clipping, fused AdamW
CHOICE_KERNELS = 4  # of a decode step: argmax, copies to and from the host


@dataclass(frozen=True, kw_only=True)
class Load:
    """The load of one step: floating-point operations, bytes moved, kernels launched."""

    flops: float
    bytes: float
    kernels: float


def training_load(model: SequenceModel, *, vocabulary: int, batch: int, length: float, graded: float) -> Load:
    """A training step on `batch` sequences of `length` tokens, padding included, `graded` of which have a loss."""
    positions = length - 1  # the last token is predicted, not read
    work, d_model = forward_work(model, length / 2), model.embedding.embedding_dim
    head_passes = FORWARD_AND_BACKWARD if _is_trained(model.embedding) else FORWARD_AND_BACKWARD - 1
    flops = FORWARD_AND_BACKWARD * work.flops * positions + head_passes * 2 * vocabulary * d_model * graded
    floats = FORWARD_AND_BACKWARD * (work.floats * positions + (vocabulary + d_model) * graded)
    weights = _layer_weights(model) + vocabulary * d_model * _is_trained(model.embedding)
    return Load(
        flops=batch * flops,
        bytes=FLOAT_BYTES * (batch * floats + WEIGHT_PASSES * weights),
        kernels=FORWARD_AND_BACKWARD * (work.kernels + work.serial * positions) + STEP_KERNELS,
    )


def prefill_load(model: SequenceModel, *, rows: float, length: float) -> Load:
    """Prefill of the prompts of `rows` samples, of `length` tokens each."""
    work = forward_work(model, (length + 1) / 2)
    return Load(
        flops=rows * length * work.flops,
        bytes=FLOAT_BYTES * (rows * length * work.floats + _layer_weights(model)),
        kernels=work.kernels + work.serial * length,
    )


def decode_load(model: SequenceModel, *, vocabulary: int, rows: float, context: float) -> Load:
    """A decode step of `rows` samples after `context` tokens: reads the whole state, writes all but its caches."""
    work, d_model = forward_work(model, context), model.embedding.embedding_dim
    floats = work.floats + state_floats(model, context) + state_floats(model, 0) + vocabulary + d_model
    return Load(
        flops=rows * (work.flops + 2 * vocabulary * d_model),
        bytes=FLOAT_BYTES * (rows * floats + _layer_weights(model) + vocabulary * d_model),
        kernels=work.kernels + work.serial + CHOICE_KERNELS,
    )


def _layer_weights(model: SequenceModel) -> int:
    return sum(parameter.numel() for parameter in model.layers.parameters())


def _is_trained(embedding: nn.Embedding) -> bool:
    return embedding.weight.requires_grad


def forward_work(model: SequenceModel, context: float) -> Work:
    """The layers' forward pass over one token that sees `context` tokens, itself included; without the head."""
    parts = list(_parts(model, model.embedding.embedding_dim, context))
    return Work(
        flops=sum(part.flops for part in parts),
        floats=sum(part.floats for part in parts),
        kernels=sum(part.kernels for part in parts),
        serial=sum(part.serial for part in parts),
    )


def state_floats(model: SequenceModel, context: float) -> float:
    """Values that decoding carries for one sample after `context` tokens."""
    if context < 1:
        return sum(tensor.numel() for tensor in state_tensors(model.init_state(1)))
    growth = model.state_growth()
    if not growth.steady:
        return model.state_bits(round(context)) / (8 * FLOAT_BYTES)
    return (growth.first + growth.per_token * (context - 1)) / (8 * FLOAT_BYTES)


def _parts(module: nn.Module, d_model: int, context: float) -> Iterator[Work]:
    """A module's own work, and that of the modules in it; one total for a mixer whose work has to be measured."""
    if isinstance(module, Mixer):
        told = module.work(context)
        if told is None:
            yield measured_work(module, d_model, context)
            return
        yield told
    elif isinstance(module, RMSNorm):
        yield Work(floats=2 * module.weight.numel(), kernels=1)
    elif isinstance(module, nn.Embedding):
        yield Work(floats=module.embedding_dim, kernels=1)
    else:
        yield _matrices(module)
    for child in module.children():
        yield from _parts(child, d_model, context)


def _matrices(module: nn.Module) -> Work:
    """A module's own matrices, each multiplied by every token."""
    shapes = [p.flatten(1).shape for p in module.parameters(recurse=False) if p.ndim > 1]
    return Work(
        flops=sum(2 * rows * columns for rows, columns in shapes),
        floats=sum(rows + columns for rows, columns in shapes),
        kernels=len(shapes),
        serial=1 if isinstance(module, nn.RNNBase) else 0,
    )
