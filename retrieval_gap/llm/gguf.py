"""GGUF files: the weights of a model, its configuration and its tokenizer in one file, often quantised (llama.cpp).

`transformers` reads them with the packages gguf and accelerate.  Weights are dequantised to fp32 as they are read.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from retrieval_gap.machine.errors import RunError, UsageError

SUFFIX = ".gguf"
NEEDED = ("transformers", "accelerate", "gguf")


def is_gguf(model: str) -> bool:
    """Whether this names a GGUF file; a folder with such a name is not one."""
    path = Path(model).expanduser()
    return path.suffix == SUFFIX and not path.is_dir()


def from_pretrained_words(model: str) -> tuple[str, dict[str, Any]]:
    """The arguments of transformers' `from_pretrained` for a model: where it is, and keywords for a GGUF file, none for
    a folder or a name on the hub.

    Raises UsageError if there is no such file, RunError if a package that reads it is missing.
    """
    if not is_gguf(model):
        return model, {}
    path = Path(model).expanduser()
    if not path.is_file():
        raise UsageError(f"model {model}: no such file")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise RunError(f"{', '.join(missing)} is not installed: pip install 'retrieval-gap[models]'")
    return str(path.parent), {"gguf_file": path.name}


def gguf_weights(words: dict[str, Any]) -> dict[str, Any]:
    """The keywords that dequantise a model's weights; without that they can neither be saved nor trained."""
    from transformers import GgufConfig

    return words | {"quantization_config": GgufConfig(dequantize=True)}
