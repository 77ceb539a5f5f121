"""Text as tokens: byte-level BPE, trained on the text of a training split, the same every time.

Any text can be encoded, and any row of tokens is some text.  A text is encoded with a blank before it, so that a name
has the same tokens at the start of a sentence, in its middle and in a search.  The tokenizer knows no control tokens:
`[EOS]` in a text is five ordinary characters.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

# No token crosses the blank before a word, so words can be encoded one by one, and most are in the cache.
_WORD = re.compile(r"\s*\S+|\s+")
WORDS_KEPT = 1 << 16


class Codec:
    """Texts to token numbers, from `first` on, and back.

    spelling: of each token, in the alphabet of byte-level BPE, which shows a blank as `Ġ`.
    """

    def __init__(self, tokenizer: Tokenizer, first: int) -> None:
        self._tokenizer, self._first = tokenizer, first
        byte_of = {sign: byte for byte, sign in enumerate(_alphabet())}
        self._tokens_of = lru_cache(maxsize=WORDS_KEPT)(self._encode_word)
        vocabulary = tokenizer.get_vocab()
        self.spelling = tuple(sorted(vocabulary, key=vocabulary.__getitem__))
        self._number = {token: number for number, token in enumerate(self.spelling)}
        self._bytes = [bytes(byte_of[sign] for sign in token) for token in self.spelling]

    def encode(self, text: str, most: int | None = None) -> list[int]:
        """The tokens of a text, or its first `most`."""
        tokens: list[int] = []
        for word in _WORD.findall(" " + text):
            tokens += self._tokens_of(word)
        return tokens[:most]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._first + number for number in self._tokenizer.encode(word, add_special_tokens=False).ids)

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.encode(text))

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens, without blanks at its ends; tokens not of text are skipped, broken characters are �."""
        written = b"".join(self._bytes[token - self._first] for token in tokens if token >= self._first)
        return written.decode("utf-8", errors="replace").strip()

    def read(self, spelled: Sequence[str]) -> str:
        """The text of tokens by their spelling; "" if one is not a text token."""
        numbers = [self._number.get(token) for token in spelled]
        return "" if None in numbers else self.decode(self._first + number for number in numbers if number is not None)

    def to_json(self) -> str:
        """The whole tokenizer, in the format of the `tokenizers` library."""
        return str(self._tokenizer.to_str())


def train_codec(texts: Iterable[str], size: int, first: int) -> Codec:
    """Train a codec of at most `size` tokens (256 bytes, then the merges) on these texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=_alphabet(), special_tokens=[], show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator((" " + text for text in texts), trainer)
    return Codec(tokenizer, first)


def _alphabet() -> list[str]:
    """The sign of each byte in byte-level BPE: itself where Latin-1 can show it, else the next one from U+0100 on."""
    shown = [byte for byte in range(256) if chr(byte).isprintable() and byte != ord(" ")]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte if byte in shown else 256 + hidden.index(byte)) for byte in range(256)]
