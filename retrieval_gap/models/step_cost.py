"""The work of a mixer for one token: declared by the mixer, or counted while it runs.

Axes: D model width, L time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

Count = int | float
LENGTHS = (16, 32)  # sequences on which a mixer is measured


@dataclass(frozen=True, kw_only=True)
class Work:
    """A forward pass over one token: operations, values moved to or from memory besides weights, and kernels launched
    for all tokens of a pass together, or (`serial`) for each position in turn, as in an LSTM."""

    flops: Count = 0
    floats: Count = 0
    kernels: Count = 0
    serial: Count = 0


def measured_work(mixer: nn.Module, d_model: int, context: Count) -> Work:
    """The work of a mixer that does not declare it, matrix products of its submodules included, from two forward passes
    over L tokens: a token costs a + b times the context that it sees, and a pass k + s L kernels.

    Each result of an elementwise kernel counts as one operation, each multiply-add of a matrix product as two.  Kernels
    outside torch are not counted.  Raises whatever the mixer raises.
    """
    (short, few), (long, many) = ((length, _counted(mixer, d_model, length)) for length in LENGTHS)
    serial = (many.kernels - few.kernels) / (long - short)

    def at_context(less: float, more: float) -> float:
        slope = 2 * (more / long - less / short) / (long - short)  # the mean context of L tokens is (L + 1) / 2
        return less / short + slope * (context - (short + 1) / 2)

    return Work(
        flops=at_context(few.flops, many.flops),
        floats=at_context(few.floats, many.floats),
        kernels=few.kernels - serial * short,
        serial=serial,
    )


def _counted(mixer: nn.Module, d_model: int, length: int) -> "_Counter":
    like = next(mixer.parameters(), torch.empty(0))
    x_1xLxD = torch.zeros(1, length, d_model, dtype=like.dtype, device=like.device)
    with torch.no_grad(), _Counter(mixer) as counter:
        mixer(x_1xLxD)
    return counter


class _Counter(TorchDispatchMode):
    """Counts operations, values moved besides weights, and kernels of all that torch runs; views are free."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.flops = self.floats = self.kernels = 0.0
        self._weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.is_view or function is torch.ops.aten._unsafe_view.default:
            return result
        made, read = list(_tensors(result)), list(_tensors([args, kwargs]))
        count = flop_registry.get(function._overloadpacket)
        self.flops += (
            count(*args, **(kwargs or {}), out_val=result) if count else sum(tensor.numel() for tensor in made)
        )
        moved = [tensor for tensor in (*made, *read) if tensor.untyped_storage().data_ptr() not in self._weights]
        self.floats += sum(tensor.numel() for tensor in moved)
        self.kernels += 1
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
