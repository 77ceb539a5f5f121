"""A checkpoint: one safetensors file with weights, optimiser moments and progress, replaced as a whole.

Nothing is pickled.  The file's header holds the progress as JSON and a SHA-256 of progress and tensors, so that a
truncated or altered file is detected.  The previous checkpoint is kept beside it, and training resumes from that one if
the newest is damaged.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import write_atomically

MOMENTS = ("exp_avg", "exp_avg_sq")
START_OVER = "delete it to start this run over (the whole folder if the run was finished)"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """Steps done, and the losses not yet reported.  stopped: training ended by early stopping."""

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    stopped: bool = False


def save_checkpoint(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: TrainingProgress
) -> None:
    """Replace `path`; its old file becomes `previous(path)`.  Raises RunError if the checkpoint cannot be written; the
    old files then stay."""
    tensors = {f"model.{name}": p.detach().contiguous() for name, p in parameters.items()}
    for moment in MOMENTS:
        tensors |= {f"{moment}.{name}": optimizer.state[p][moment] for name, p in parameters.items()}
    told = json.dumps(asdict(progress))
    header = {"progress": told, "sha256": digest(told, tensors)}
    try:
        write_atomically(path, lambda part: _write(part, tensors, header), keep=previous(path))
    except (SafetensorError, OSError) as error:
        raise RunError(f"checkpoint {path} cannot be written ({error}); make room, the same command resumes") from error


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
    """Write safetensors' file with sorted header keys: the library takes them from a hash map, so the bytes of equal
    checkpoints would differ."""
    save_file(tensors, path, metadata=header)
    with path.open("rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        told = json.loads(file.read(size))
        sorted_told = {key: told[key] for key in sorted(told)}
        sorted_told["__metadata__"] = dict(sorted(told["__metadata__"].items()))
        text = json.dumps(sorted_told, separators=(",", ":")).encode()
        if len(text) <= size:  # else it stays unsorted: the digest is of its content, not its spelling
            file.seek(8)
            file.write(text.ljust(size))


def load_checkpoint(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer | None = None
) -> TrainingProgress:
    """Fill the parameters, and the moments of an optimiser if given, from the newest sound checkpoint.

    Raises RunError, before anything is changed, if none is sound or it belongs to another model.
    """
    return _load(path, parameters, optimizer)[1]


def _load(
    path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer | None
) -> tuple[Path, TrainingProgress]:
    """The path and progress of the checkpoint that was read; logs a warning if the newest is damaged or missing."""
    found, progress, tensors = newest_sound(path)
    _fill(parameters, optimizer, progress, tensors, found)
    if found != path:
        fault = "damaged" if path.exists() else "missing"
        _log.warning("checkpoint %s is %s; resuming from the previous one, at step %d", path, fault, progress.step)
    return found, progress


def _fill(
    parameters: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer | None,
    progress: TrainingProgress,
    tensors: dict[str, Tensor],
    path: Path,
) -> None:
    """Fill the parameters and moments.  Raises RunError, before anything is changed, for tensors of another model."""
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


def previous(path: Path) -> Path:
    """The path of the checkpoint before the one in `path`."""
    return path.with_stem(f"{path.stem}.previous")


def has_checkpoint(path: Path) -> bool:
    return path.exists() or previous(path).exists()


def resume(path: Path, parameters: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> TrainingProgress:
    """As `load_checkpoint`; no progress if there is no checkpoint.

    A damaged file is replaced by the one before it, which would otherwise be lost when the next one is saved.
    """
    if not has_checkpoint(path):
        return TrainingProgress()
    found, progress = _load(path, parameters, optimizer)
    if found != path:
        found.replace(path)
    return progress


def newest_sound(path: Path) -> tuple[Path, TrainingProgress, dict[str, Tensor]]:
    """The newest sound checkpoint of `path` and the one before it: its path, its progress, its tensors.

    Raises RunError, about `path`, if neither is sound.
    """
    try:
        return path, *read_checkpoint(path)
    except RunError as damage:
        try:
            return previous(path), *read_checkpoint(previous(path))
        except RunError:
            raise damage from damage.__cause__


def read_checkpoint(path: Path) -> tuple[TrainingProgress, dict[str, Tensor]]:
    """The progress, and the tensors by name: `model.*` and the moments.  Raises RunError if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        progress = _progress(header["progress"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"checkpoint {path} cannot be read ({error}); {START_OVER}") from error
    if header.get("sha256") != digest(header["progress"], tensors):
        raise RunError(f"checkpoint {path} is damaged (its SHA-256 differs); {START_OVER}")
    return progress, tensors


def _progress(text: str) -> TrainingProgress:
    """The progress in a JSON text.  Raises ValueError or TypeError for a text not made from a `TrainingProgress`."""
    progress = TrainingProgress(**json.loads(text))
    counts = (progress.step, progress.loss_count)
    kinds = isinstance(progress.loss_sum, float) and isinstance(progress.stopped, bool)
    if not kinds or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError(f"impossible progress {text}")
    return progress


def digest(progress: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a checkpoint's content, in hexadecimal."""
    found = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].cpu().numpy().tobytes())
    return found.hexdigest()
