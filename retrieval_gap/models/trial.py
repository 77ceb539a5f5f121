"""Check whether the layers of a user's own architecture keep the promises of `Mixer`.

A mixer that drops its state trains to the same loss, but decodes differently.

Axes: B batch, L time, D model width.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from retrieval_gap.about import about
from retrieval_gap.models.mixer import Mixer, Residual
from retrieval_gap.models.model import SequenceModel

LENGTHS = (7, 18)  # a short odd one, and one past a chunk of 16
ROWS = 2
TOLERANCE = {"cpu": 1e-3, "cuda": 2e-2}  # of the largest output; layers on a GPU may round products to TF32
NOISE = 0.05  # added to every weight: a projection that starts at zero would hide the rest of a layer


def broken_promise(model: SequenceModel, arch: str) -> str:
    """The first promise of `Mixer` that a layer of a model without `misfit` breaks, and how; or "".  Changes the
    weights."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.layers.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
        width = model.embedding.embedding_dim
        for place, layer in enumerate(model.layers):
            mixer: Any = layer.mixer if isinstance(layer, Residual) else layer
            for length in LENGTHS:
                x_BxLxD = torch.randn(ROWS, length, width, device=model.device)
                if told := _trouble(mixer, x_BxLxD):
                    return f"layer {place}, {type(mixer).__name__}: {told}"
    return _wrong_kind_of_state(model, arch)


def misfit(model: SequenceModel) -> str:
    """The first layer that is no `Mixer`, keeps a state of another type than `State`, or gives another shape; or "".

    Raises whatever the layers raise."""
    x_1xLxD = torch.zeros(1, LENGTHS[0], model.embedding.embedding_dim, device=model.device)
    for place, layer in enumerate(model.layers):
        mixer = layer.mixer if isinstance(layer, Residual) else layer
        where = f"layer {place}, {type(mixer).__name__}"
        if not isinstance(mixer, Mixer):
            return f"layer {place} is a {type(mixer).__name__}, and no Mixer"
        if not _is_state(state := mixer.init_state(1)):
            return f"{where}: init_state returns a {type(state).__name__}; a state is a tuple of tensors"
        with torch.no_grad():
            if told := _shape_trouble("forward", mixer(x_1xLxD), x_1xLxD):
                return f"{where}: {told}"
    return ""


def _is_state(state: object) -> bool:
    if isinstance(state, tuple):
        return all(_is_state(part) for part in state)
    return isinstance(state, Tensor) or (hasattr(state, "tensors") and hasattr(state, "select"))


def without_gradient(trained: Mapping[str, nn.Parameter]) -> list[str]:
    """The trained parameters that the backward pass did not reach: no output depends on them."""
    return [name for name, parameter in trained.items() if parameter.grad is None]


def changed_buffer(module: nn.Module, step: Callable[[], None]) -> str:
    """The first buffer of a state_dict, such as the running mean of batch norm, that `step` adds or changes; or ""."""
    before = _buffers(module)
    step()
    after = _buffers(module)
    changed = (name for name in after if name not in before or not torch.equal(after[name], before[name]))
    return next(changed, "")


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters())
    return {name: kept.clone() for name, kept in module.state_dict().items() if name not in parameters}


def _trouble(mixer: Mixer, x_BxLxD: Tensor) -> str:
    length = x_BxLxD.shape[1]
    whole_BxLxD = mixer(x_BxLxD)
    if told := _shape_trouble("forward", whole_BxLxD, x_BxLxD):
        return told
    if not whole_BxLxD.isfinite().all():
        return f"forward gives numbers that are not finite on {length} tokens"
    if told := _difference(mixer(x_BxLxD), whole_BxLxD):
        return f"forward gives another output each time, {told} of {length}; dropout and other noise are not supported"
    for what, read in _readings(mixer):
        y_BxLxD = read(x_BxLxD)
        if told := _shape_trouble(what, y_BxLxD, x_BxLxD):
            return told
        if told := _difference(y_BxLxD, whole_BxLxD):
            return f"{what} and forward differ {told} of {length}"
    half = length // 2
    changed_BxLxD = torch.cat([x_BxLxD[:, :half], torch.randn_like(x_BxLxD[:, half:])], 1)
    if told := _difference(mixer(changed_BxLxD)[:, :half], whole_BxLxD[:, :half]):
        return f"it looks ahead: with other tokens from {half} on, its output differs {told} of {length}"
    padded_BxLxD = torch.cat([x_BxLxD[:1], torch.zeros_like(x_BxLxD[:1, :3])], 1)
    if told := _difference(mixer(padded_BxLxD)[:, :length], whole_BxLxD[:1]):
        return f"a sample alone and padded has another output than in its batch {told} of {length}"
    return ""


def _readings(mixer: Mixer) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """The ways to read a sequence that must agree with `forward`."""

    def in_pieces(x_BxLxD: Tensor) -> Tensor:
        state, outputs = mixer.init_state(len(x_BxLxD)), []
        for piece in x_BxLxD.split(max(1, x_BxLxD.shape[1] // 2), 1):
            y_BxLxD, state = mixer.prefill(piece, state)
            outputs.append(y_BxLxD)
        return torch.cat(outputs, 1)

    def in_steps(x_BxLxD: Tensor) -> Tensor:
        state, outputs = mixer.init_state(len(x_BxLxD)), []
        for x_BxD in x_BxLxD.unbind(1):
            y_BxD, state = mixer.step(x_BxD, state)
            outputs.append(y_BxD.clone())
        return torch.stack(outputs, 1)

    yield "prefill", lambda x_BxLxD: mixer.prefill(x_BxLxD, mixer.init_state(len(x_BxLxD)))[0]
    yield "prefill in pieces", in_pieces
    yield "step after step", in_steps


def _shape_trouble(what: str, y: Tensor, x: Tensor) -> str:
    if not isinstance(y, Tensor):
        return f"{what} returns a {type(y).__name__}, not a tensor"
    if y.shape != x.shape:
        return f"{what} gives shape {tuple(y.shape)} for an input of {tuple(x.shape)}"
    return ""


def _difference(ours_BxLxD: Tensor, theirs_BxLxD: Tensor) -> str:
    """Where two outputs differ first and by how much, such as `by 0.31 (of at most 1.2) from token 8`; or ""."""
    largest = float(theirs_BxLxD.abs().max())
    apart_L = (ours_BxLxD - theirs_BxLxD).abs().amax((0, 2))
    over_L = ~(apart_L <= TOLERANCE[theirs_BxLxD.device.type] * max(largest, 1e-6))  # NaN counts as over
    if not over_L.any():
        return ""
    return f"by {float(apart_L.max()):.2g} (outputs reach {largest:.2g}) from token {int(over_L.int().argmax())} on,"


def _wrong_kind_of_state(model: SequenceModel, arch: str) -> str:
    """How the kind of state in the file's ABOUT contradicts the measured one; or ""."""
    told, growth = about(arch).state, model.state_growth()
    if told and told != ("grows" if growth.per_token else "fixed"):
        measured = f"its state is {growth.first:,} bits after a token and {growth.per_token:,} more with each"
        return f"ABOUT says state={told!r}, and {measured}"
    return ""


def first_step(model: SequenceModel, tokens_BxL: Tensor, loss_mask_BxL: Tensor) -> None:
    """One backward pass, which leaves the gradients, and one decode step.  Raises whatever the layers raise."""
    if not len(model.layers):
        raise ValueError("layers() is empty")
    model.loss(tokens_BxL, loss_mask_BxL).backward()
    with torch.no_grad():
        _, state = model.prefill(tokens_BxL[:, :1])
        model.step(tokens_BxL[:, 1], state)
