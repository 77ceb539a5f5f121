"""Sequence models: one file an architecture, one protocol.

A user's architecture is a file of its own, named by its path (`--arch my_arch.py`), with the same two things that
the files here have: mixers, and `SIZES`, which maps the name of a size to an `Architecture`.
"""

from pathlib import Path

from retrieval_gap.errors import UsageError, unknown
from retrieval_gap.models import hybrid, lstm, mamba, transformer
from retrieval_gap.models.model import Architecture, Embedding, ModelConfig, SequenceModel
from tasks.registry import run_file

ARCHITECTURES = {"transformer": transformer, "mamba": mamba, "lstm": lstm, "hybrid": hybrid}

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Embedding",
    "ModelConfig",
    "SequenceModel",
    "architecture",
]


def architecture(name_or_path: str, size: str) -> Architecture:
    """The architecture of that name (or in that `.py` file) at that size.

    Raises UsageError for a name, a file or a size that is not there.
    """
    if name_or_path.endswith(".py"):
        module = run_file(Path(name_or_path), "architecture", UsageError)
        sizes = getattr(module, "SIZES", None)
        if not isinstance(sizes, dict):
            raise UsageError(f"{name_or_path} defines no SIZES (a dict from size names to architectures)")
    elif name_or_path in ARCHITECTURES:
        sizes = ARCHITECTURES[name_or_path].SIZES
    else:
        raise unknown("architecture", name_or_path, [*ARCHITECTURES, "path/to/your_file.py"])
    if size not in sizes:
        raise unknown(f"size of {name_or_path}", size, sizes)
    if not isinstance(sizes[size], Architecture):
        raise UsageError(f"{name_or_path}: SIZES[{size!r}] lacks d_model or layers()")
    return sizes[size]
