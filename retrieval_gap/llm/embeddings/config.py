"""Which states of which model, and the fingerprint that distinguishes models."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from retrieval_gap.llm.gguf import from_pretrained_words, is_gguf
from retrieval_gap.llm.local import load_or_one_line_error
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.field_kinds import check_fields

Half = Literal["encoder", "decoder"]
StoredPrecision = Literal["fp16", "fp32"]
# The files in a model's folder that decide its states.
DECISIVE = (
    "*.safetensors", "config.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens*",
    "added_tokens.json",
)  # fmt: skip
CHUNK = 1 << 20
WIDTHS = ("hidden_size", "d_model", "n_embd")


@dataclass(frozen=True, kw_only=True)
class StatesConfig:
    """Which token states.

    model: a folder, a GGUF file, or a name on the hub.
    layer: 0 is the embeddings, 1 the first layer, -1 the last.
    half: of an encoder-decoder, the states of its encoder, or of its decoder, which reads the text shifted by one and
        attends to the encoder; other models ignore this.
    copies: 2 lets the model read the text twice and takes the states of the second copy, where a decoder has already
        seen the later text.
    window: tokens that the model reads together; 0 means as many as it has positions.
    precision: of the stored states; the model computes in fp32.
    """

    model: str
    layer: int = -1
    half: Half = "encoder"
    copies: int = 1
    window: int = 0
    precision: StoredPrecision = "fp16"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.copies not in (1, 2):
            raise UsageError(f"copies = {self.copies} is invalid: expected 1 or 2")
        if self.window < 0:
            raise UsageError(f"window = {self.window} is out of range: expected 0 or more tokens")


class TextStates(NamedTuple):
    """States of one text's L tokens, including special tokens (such as [CLS]).

    states_LxD: fp16 or fp32.  word_L: the number of the word (between white space) that a token belongs to; -1 for
    special tokens.
    """

    states_LxD: Tensor
    word_L: Tensor


def fingerprint(model: str) -> str:
    """The fingerprint of a model's files (weights, configuration, tokenizer), 16 hex digits; further training or
    another tokenizer changes it.  Raises UsageError if there are no weights."""
    paths = model_files(model)
    return _digest(tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@lru_cache
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    found = hashlib.sha256()
    for name, size, _ in files:
        found.update(f"{Path(name).name}:{size}:".encode())
        with open(name, "rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
    return found.hexdigest()[:16]


def model_files(model: str) -> list[Path]:
    """The files that decide a model's states, sorted.  Raises UsageError if there are no weights."""
    path = Path(model).expanduser()
    if is_gguf(model):
        where, words = from_pretrained_words(model)
        return [Path(where) / words["gguf_file"]]
    folder = path if path.is_dir() else _from_hub(model)
    files = sorted({file for pattern in DECISIVE for file in folder.glob(pattern) if file.is_file()})
    if not any(file.suffix == ".safetensors" for file in files):
        raise UsageError(f"model {model}: {folder} holds no weights (*.safetensors)")
    return files


def states_width(model: str) -> int:
    """D, from the model's config.json.  Raises UsageError if it is not there."""
    if is_gguf(model):
        return _width_of_gguf(model)
    path = next((path for path in model_files(model) if path.name == "config.json"), None)
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"model {model}: {path} cannot be read ({error})") from error
    told = told.get("text_config", told)
    width = next((told[key] for key in WIDTHS if isinstance(told.get(key), int)), None)
    if width is None:
        raise UsageError(f"model {model}: its config.json does not say how wide its states are ({', '.join(WIDTHS)})")
    return int(width)


def _width_of_gguf(model: str) -> int:
    where, words = from_pretrained_words(model)
    from transformers import AutoConfig

    told = load_or_one_line_error(model, lambda: AutoConfig.from_pretrained(where, trust_remote_code=False, **words))
    return int(told.get_text_config().hidden_size)


def _from_hub(model: str) -> Path:
    if model.startswith((".", "/", "~")):
        raise UsageError(f"model {model}: no such folder")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise RunError("token states need transformers: pip install 'retrieval-gap[pretrained]'") from error
    try:
        return Path(snapshot_download(model, allow_patterns=list(DECISIVE)))
    except Exception as error:  # the hub's client fails in many ways
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UsageError(f"model {model}: no such folder, and not on the hub: {first.strip()[:200]}") from error
