"""A checkpoint: one safetensors file with weights, optimiser moments and progress, replaced as a whole.

Nothing is pickled.  The file's header carries the progress as JSON and a SHA-256 of progress and tensors, so that a
file cut short or altered is told from a good one.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from retrieval_gap.errors import RunError
from retrieval_gap.files import write_atomically

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Steps done, and the losses not reported yet."""

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0


def save_checkpoint(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Replaces `path`.  Raises RunError where it cannot be written; the old file then stays."""
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in parameters.items()}
    for moment in MOMENTS:
        tensors |= {f"{moment}.{name}": optimizer.state[p][moment] for name, p in parameters.items()}
    told = json.dumps(asdict(progress))
    header = {"progress": told, "sha256": _digest(told, tensors)}
    try:
        write_atomically(path, lambda part: save_file(tensors, part, metadata=header))
    except (SafetensorError, OSError) as error:
        raise RunError(f"checkpoint {path} cannot be written ({error}); make room, the same command goes on") from error


def load_checkpoint(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer | None = None
) -> Progress:
    """Fills the parameters, and the optimiser's moments where one is given.

    Raises RunError, before anything is changed, for a file that is damaged or belongs to another model.
    """
    progress, tensors = read_checkpoint(path)
    wanted = {f"{part}.{name}": p.shape for part in ("model", *MOMENTS) for name, p in parameters.items()}
    if wanted != {name: tensor.shape for name, tensor in tensors.items()}:
        raise RunError(f"checkpoint {path} is of another model: its tensors have other names or shapes")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"model.{name}"])
            if optimizer is not None:
                moments = {m: tensors[f"{m}.{name}"].to(parameter.device) for m in MOMENTS}
                step = torch.tensor(float(progress.step), device=parameter.device)
                optimizer.state[parameter] = {"step": step, **moments}
    return progress


def read_checkpoint(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    """Progress, and the tensors by name, `model.*` and the moments.  Raises RunError where the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        progress = _progress(header["progress"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"checkpoint {path} cannot be read ({error}); delete it to start this run over") from error
    if header.get("sha256") != _digest(header["progress"], tensors):
        raise RunError(f"checkpoint {path} is damaged (its SHA-256 differs); delete it to start this run over")
    return progress, tensors


def _progress(text: str) -> Progress:
    """Raises ValueError or TypeError for a text that `asdict(Progress)` does not give."""
    progress = Progress(**json.loads(text))
    counts = (progress.step, progress.loss_count)
    if not all(type(count) is int and count >= 0 for count in counts) or not isinstance(progress.loss_sum, float):
        raise ValueError(f"impossible progress {text}")
    return progress


def _digest(progress: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().numpy().tobytes())
    return digest.hexdigest()
