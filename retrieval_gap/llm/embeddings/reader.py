"""Read texts with a model of `transformers`: encoder, encoder-decoder or decoder; any layer.

Axes: B pieces of a batch, L tokens of the longest, D width.

A text's states do not depend on what shares its batch.  Whether padding keeps this true is tested when a model is
loaded: first plain padding, then with position ids; if neither works, only pieces of one length share a batch.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from retrieval_gap.llm.embeddings.config import StatesConfig, TextStates
from retrieval_gap.llm.embeddings.windows import windows
from retrieval_gap.llm.gguf import from_pretrained_words, gguf_weights
from retrieval_gap.llm.local import load_or_one_line_error, load_tokenizer
from retrieval_gap.machine.errors import RunError, UsageError

PaddingSide = Literal["right", "left"]
Padding = Literal["plain", "positions", "none"]
TOLERANCE = 1e-3  # of states whose size is about 1, in fp32
MOST_POSITIONS = 1 << 20  # a larger limit means none
STORED = {"fp16": torch.float16, "fp32": torch.float32}
PROBE = ("one two three four five six seven", "one two")


class _Piece(NamedTuple):
    """Tokens that are read together; their states `kept` go to places `at` of text number `text`."""

    text: int
    ids: list[int]
    kept: slice
    at: slice


class _Prepared(NamedTuple):
    """A text as tokens, with the special ones around it."""

    ids: list[int]
    word: list[int]
    before: int
    after: int


class StateReader:
    """Raises RunError or UsageError, one line, for an invalid model, layer or tokenizer.

    batch_size: pieces per batch.  padding_side: where shorter pieces are padded.
    """

    def __init__(
        self,
        config: StatesConfig,
        *,
        batch_size: int = 16,
        padding_side: PaddingSide = "right",
        device: torch.device | None = None,
    ) -> None:
        self.config, self._batch_size, self._side = config, batch_size, padding_side
        self._device = device or torch.device("cpu")
        self._tokenizer = load_tokenizer(config.model)
        if not self._tokenizer.is_fast:
            raise RunError(f"model {config.model}: its tokenizer does not tell where tokens stand in the text")
        self._model = _loaded(config).to(self._device)
        self._both = bool(self._model.config.is_encoder_decoder)
        if self._both and config.half == "encoder":
            self._model, self._both = self._model.get_encoder(), False
        self._before, self._after = self._special_tokens()
        self.limit = self._room()
        self._padding: Padding = "plain"
        self._padding = self._tried_padding()
        self.windowed = 0  # texts so far that did not fit in one window

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> list[TextStates]:
        """Return the states of each text in the stored precision.  All are held in memory: pass as many texts as fit.

        Raises UsageError, naming the text, if it has no token that the tokenizer knows.
        """
        stored = STORED[self.config.precision]
        return [TextStates(self._checked(each.states_LxD.cpu().to(stored)), each.word_L) for each in self.live(texts)]

    def live(self, texts: Sequence[str]) -> list[TextStates]:
        """The same in fp32; after `trained_module` with the autograd graph, to train the model."""
        prepared = [self._prepared(text) for text in texts]
        pieces = [piece for number, each in enumerate(prepared) for piece in self._pieces(number, each)]
        states: list[Tensor | None] = [None] * len(texts)
        for batch in self._batches(pieces):
            read = self._read([piece.ids for piece in batch])
            for piece, read_LxD in zip(batch, read, strict=True):
                whole = states[piece.text]
                if whole is None:
                    length = len(prepared[piece.text].ids)
                    whole = states[piece.text] = read_LxD.new_empty(length, read_LxD.shape[-1])
                whole[piece.at] = read_LxD[piece.kept]
        return [
            TextStates(whole, torch.tensor(each.word, dtype=torch.int32))
            for whole, each in zip(states, prepared, strict=True)
            if whole is not None
        ]

    def words(self, text: str) -> Tensor:
        """word_L of a text, without running the model."""
        return torch.tensor(self._prepared(text).word, dtype=torch.int32)

    def trained_module(self) -> nn.Module:
        """Return the model, ready to be trained: gradients go to all weights that its states depend on, and to no
        others (such as a BERT's pooler, or layers above the one that is read)."""
        self._model.requires_grad_(True)
        self._read([self._probe_ids(PROBE[0])])[0].sum().backward()
        for parameter in self._model.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None
        found: nn.Module = self._model
        return found

    def _checked(self, states_LxD: Tensor) -> Tensor:
        if not torch.isfinite(states_LxD).all():
            raise RunError(
                f"model {self.config.model}: states are not finite {self.config.precision} numbers; try fp32"
            )
        return states_LxD

    def _prepared(self, text: str) -> _Prepared:
        told = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids: list[int] = list(told["input_ids"])
        if not text.strip() or not ids:
            raise UsageError(f"text {text[:40]!r} is empty: there is no token to read")
        if all(token == self._tokenizer.unk_token_id for token in ids):
            raise UsageError(f"text {text[:40]!r} has no token that the tokenizer of {self.config.model} knows")
        word_of = _words_of_characters(text)
        word = [word_of[max(start, stop - 1)] for start, stop in told["offset_mapping"]]
        before, after = len(self._before), len(self._after)
        return _Prepared([*self._before, *ids, *self._after], [-1] * before + word + [-1] * after, before, after)

    def _pieces(self, number: int, text: _Prepared) -> Iterator[_Piece]:
        """Yield a text's windows, each with the special tokens around it, its own tokens twice with two `copies`."""
        own = text.ids[text.before : len(text.ids) - text.after]
        room = self.limit // self.config.copies if self.limit else len(own)
        found = windows(len(own), room)
        self.windowed += len(found) > 1
        for window in found:
            ids = own[window.start : window.stop]
            first, last = window.first, window.last
            skipped = len(ids) * (self.config.copies - 1)
            kept_from, kept_to = (
                text.before + skipped + first - window.start,
                text.before + skipped + last - window.start,
            )
            at_from, at_to = text.before + first, text.before + last
            if first == 0 and not skipped:  # special tokens come from the text's first and last window
                kept_from, at_from = 0, 0
            if last == len(own):
                kept_to, at_to = kept_to + text.after, at_to + text.after
            whole = [*self._before, *ids * self.config.copies, *self._after]
            yield _Piece(number, whole, slice(kept_from, kept_to), slice(at_from, at_to))
            if first == 0 and skipped and text.before:
                yield _Piece(number, whole, slice(0, text.before), slice(0, text.before))

    def _batches(self, pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
        batch: list[_Piece] = []
        for piece in sorted(pieces, key=lambda each: len(each.ids)):
            other_length = bool(batch) and len(batch[0].ids) != len(piece.ids)
            if len(batch) == self._batch_size or (other_length and self._padding == "none"):
                yield batch
                batch = []
            batch.append(piece)
        if batch:
            yield batch

    def _read(self, ids: Sequence[list[int]]) -> list[Tensor]:
        """Hidden states of each piece at `layer`, LxD."""
        longest = max(map(len, ids))
        ids_BxL = torch.zeros(len(ids), longest, dtype=torch.long) + self._pad
        mask_BxL = torch.zeros(len(ids), longest, dtype=torch.long)
        for row, each in enumerate(ids):
            place = slice(longest - len(each), longest) if self._side == "left" else slice(0, len(each))
            ids_BxL[row, place], mask_BxL[row, place] = torch.tensor(each), 1
        asked = {"input_ids": ids_BxL, "attention_mask": mask_BxL}
        if self._padding == "positions":
            asked["position_ids"] = (mask_BxL.cumsum(1) - 1).clamp(min=0)
        if self._both:
            asked["decoder_input_ids"], asked["decoder_attention_mask"] = self._shifted(ids_BxL, mask_BxL), mask_BxL
        told = self._model(**{name: each.to(self._device) for name, each in asked.items()}, output_hidden_states=True)
        layers = told.decoder_hidden_states if self._both else told.hidden_states
        if not -len(layers) <= self.config.layer < len(layers):
            raise UsageError(
                f"layer {self.config.layer} of {self.config.model}: there are 0 to {len(layers) - 1}, or -1"
            )
        return [states_LxD[mask.bool()] for states_LxD, mask in zip(layers[self.config.layer], mask_BxL, strict=True)]

    def _shifted(self, ids_BxL: Tensor, mask_BxL: Tensor) -> Tensor:
        """The decoder's input: its start token, then the text without its last token."""
        start = self._model.config.decoder_start_token_id
        shifted = torch.cat([torch.full_like(ids_BxL[:, :1], start), ids_BxL[:, :-1]], 1)
        first_BxL = mask_BxL.bool() & (mask_BxL.cumsum(1) == 1)
        return torch.where(first_BxL, start, shifted)

    @property
    def _pad(self) -> int:
        known = (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id, 0)
        return next(token for token in known if token is not None)

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """The special tokens that the tokenizer puts before and after a text."""
        own = list(self._tokenizer(PROBE[0], add_special_tokens=False)["input_ids"])
        whole = list(self._tokenizer(PROBE[0])["input_ids"])
        for start in range(len(whole) - len(own) + 1):
            if whole[start : start + len(own)] == own:
                return whole[:start], whole[start + len(own) :]
        raise RunError(f"model {self.config.model}: its tokenizer changes a text when it adds special tokens")

    def _room(self) -> int:
        """Tokens of a text that are read together, without special ones; 0 for no limit."""
        config = self._model.config.get_text_config()
        limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        tables = [each for name, each in self._model.named_modules() if name.endswith("position_embeddings")]
        if getattr(config, "relative_attention_num_buckets", None) and not tables:
            limits = []  # T5: all positions are relative, n_positions is no limit; MPNet has both kinds
        paddings = [each.padding_idx for each in tables if getattr(each, "padding_idx", None) is not None]
        first = max(paddings, default=-1) + 1  # RoBERTa and similar models count positions from the one after padding's
        known = [limit - first for limit in limits if isinstance(limit, int) and 0 < limit < MOST_POSITIONS]
        known += [self.config.window] if self.config.window else []
        if not known:
            return 0
        room = min(known) - len(self._before) - len(self._after)
        if room < self.config.copies:
            raise UsageError(f"a window of {min(known)} tokens has no room for a text beside the special tokens")
        return room

    def _probe_ids(self, text: str) -> list[int]:
        return [*self._before, *self._tokenizer(text, add_special_tokens=False)["input_ids"], *self._after]

    @torch.no_grad()
    def _tried_padding(self) -> Padding:
        pair = [self._probe_ids(text) for text in PROBE]
        alone = self._read([pair[1]])[0]
        ways: list[Padding] = ["plain"]
        if "position_ids" in inspect.signature(self._model.forward).parameters:
            ways.append("positions")
        for way in ways:
            self._padding = way
            together = self._read(pair)[1]
            if torch.allclose(alone, together, atol=TOLERANCE, rtol=TOLERANCE):
                return way
        return "none"


def _loaded(config: StatesConfig) -> Any:
    from transformers import AutoModel

    where, gguf = from_pretrained_words(config.model)
    how = gguf_weights(gguf) if gguf else {"use_safetensors": True}
    model = load_or_one_line_error(
        config.model,
        lambda: AutoModel.from_pretrained(where, dtype=torch.float32, trust_remote_code=False, **how),
    )
    return model.eval().requires_grad_(False)


def _words_of_characters(text: str) -> list[int]:
    """The number of each character's word; white space has that of the next word (at the end, of the last)."""
    found, number, inside = [], -1, False
    for character in text:
        if character.isspace():
            inside = False
        elif not inside:
            number, inside = number + 1, True
        found.append(number if inside else number + 1)
    last = max(number, 0)
    return [min(each, last) for each in found] or [0]
