"""Token states on disk, so that a text is read once for all heads: shards of safetensors, one folder per model.

The folder's name contains the fingerprint of the model's files and the settings that decide its states; `states.json`
in it has the same in full, and a folder where it differs is not used.  A text's key is the hash of its content.  A
process killed at any moment loses the shard that it was filling; several processes may share a folder.  A shard has a
SHA-256 of its content, which is checked when it is first used; shards of earlier versions have none.
"""

import fcntl
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from retrieval_gap.llm.embeddings.config import StatesConfig, TextStates, fingerprint
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, write_atomically, write_json

SHARD_TEXTS = 64  # texts that are read, and held in memory, at a time
TOLD_EVERY = 10.0  # seconds
_log = logging.getLogger(__name__)


class StateStore:
    """The states of texts that were read before, by text.  Raises RunError if the folder is another model's."""

    def __init__(self, config: StatesConfig, cache: Path) -> None:
        self.config = config
        self._same = {key: value for key, value in asdict(config).items() if key != "model"}
        self._same["fingerprint"] = fingerprint(config.model)
        name = "-".join(str(value) for value in (self._same["fingerprint"], *list(self._same.values())[:-1]))
        self.folder = cache / name
        self._shard: dict[str, Path] = {}
        self._listed: set[Path] = set()
        self._sound: set[Path] = set()
        self._check()
        self._list()

    def __contains__(self, text: str) -> bool:
        return key_of(text) in self._shard

    def __getitem__(self, text: str) -> TextStates:
        """Raises KeyError for a text that was not read, RunError for a shard that is damaged."""
        key = key_of(text)
        path = self._shard[key]
        if damage := self._damage(path):
            raise RunError(f"token states in {path} are damaged ({damage}); delete it and start again")
        try:
            with safe_open(path, framework="pt") as file:
                return TextStates(file.get_tensor(f"{key}.states"), file.get_tensor(f"{key}.words"))
        except (SafetensorError, OSError) as error:
            damage = _damage_in(path, error)
            raise RunError(f"token states in {path} are damaged ({damage}); delete it and start again") from error

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Texts that were not read yet, or whose shard is damaged, each once, by length: the texts of a batch are then
        of similar length."""
        self._list()
        found = {key_of(text): text for text in texts}
        for path in {self._shard[key] for key in found if key in self._shard}:
            if damage := self._damage(path):
                self._drop(path, damage)
        return sorted((text for key, text in found.items() if key not in self._shard), key=len)

    def add(self, texts: Sequence[str], states: Sequence[TextStates]) -> None:
        """Write a shard.  Raises RunError if it cannot be written."""
        keys = [key_of(text) for text in texts]
        tensors = {f"{key}.states": each.states_LxD.contiguous() for key, each in zip(keys, states, strict=True)}
        tensors |= {f"{key}.words": each.word_L for key, each in zip(keys, states, strict=True)}
        path = self.folder / f"{hashlib.sha256(''.join(keys).encode()).hexdigest()[:16]}.safetensors"
        try:
            header = {"sha256": _digest(sorted(tensors.items()))}
            write_atomically(path, lambda part: save_file(tensors, part, metadata=header))
        except (SafetensorError, OSError) as error:
            raise RunError(f"{path} cannot be written ({error}); make room, or name another --cache") from error
        self._list()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Let one process at a time fill the folder: others wait, and then find what they were about to read."""
        make_folder(self.folder)
        if not (self.folder / "states.json").exists():
            write_json(self.folder / "states.json", self._same)
        opened = os.open(self.folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
            yield
        finally:
            os.close(opened)

    def _check(self) -> None:
        path = self.folder / "states.json"
        if not path.exists():
            return
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read ({error}); move {self.folder} away") from error
        if told != self._same:
            raise RunError(f"token states in {self.folder} were written by other weights or settings; move it away")

    def _list(self) -> None:
        """Index the new shards of the folder; delete damaged ones."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._listed):
            self._listed.add(path)
            try:
                with safe_open(path, framework="pt") as file:
                    names = list(file.keys())
            except (SafetensorError, OSError) as error:
                self._drop(path, _damage_in(path, error))
                continue
            self._shard |= {name.removesuffix(".states"): path for name in names if name.endswith(".states")}

    def _damage(self, path: Path) -> str:
        """What is wrong with a shard's content, "" for nothing.  The shard is read whole the first time."""
        if path in self._sound:
            return ""
        try:
            with safe_open(path, framework="pt") as file:
                told = (file.metadata() or {}).get("sha256")
                if told and told != _digest((name, file.get_tensor(name)) for name in sorted(file.keys())):
                    return "its SHA-256 differs"
        except (SafetensorError, OSError) as error:
            return _damage_in(path, error)
        self._sound.add(path)
        return ""

    def _drop(self, path: Path, damage: str) -> None:
        _log.warning("token states in %s are damaged (%s); their texts are read again", path, damage)
        path.unlink(missing_ok=True)
        self._listed.discard(path)
        self._shard = {key: other for key, other in self._shard.items() if other != path}


def states_of(
    config: StatesConfig, texts: Sequence[str], cache: Path, *, device: torch.device | None = None
) -> StateStore:
    """Return a store that has all of these texts; those that it lacks are read, a shard at a time.  The model is loaded
    only if a text is missing.

    Raises RunError or UsageError, one line, for an invalid model, text or folder.
    """
    store = StateStore(config, cache)
    if not store.missing(texts):
        return store
    with store.filling():
        missing = store.missing(texts)
        if not missing:  # another process read them meanwhile
            return store
        reader, begun, told, tokens = StateReader(config, device=device), time.monotonic(), time.monotonic(), 0
        for first in range(0, len(missing), SHARD_TEXTS):
            shard = missing[first : first + SHARD_TEXTS]
            states = reader.read(shard)
            store.add(shard, states)
            tokens += sum(len(each.word_L) for each in states)
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                pace = f"{tokens / (told - begun):,.0f} tokens/s"
                print(f"{first + len(shard):,} of {len(missing):,} texts read, {pace}", file=sys.stderr)
        if reader.windowed:
            how = f"in overlapping windows of {reader.limit}"
            print(
                f"{reader.windowed:,} texts are longer than {config.model} reads at once: read {how}", file=sys.stderr
            )
    left = store.missing(texts)
    if left:
        raise UsageError(f"token states of {len(left)} texts are not in {store.folder}; was it emptied meanwhile?")
    return store


def key_of(text: str) -> str:
    """A text's name in the store."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _damage_in(path: Path, error: Exception) -> str:
    """What is wrong with a shard.  Raises RunError if the file exists but could not be opened: that says nothing of its
    content."""
    if isinstance(error, OSError) and path.exists():
        raise RunError(
            f"token states in {path} cannot be opened ({error}): are too many files open (`ulimit -n`), or are they "
            "another user's?"
        ) from error
    return str(error)


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    found = hashlib.sha256()
    for name, tensor in tensors:
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()
