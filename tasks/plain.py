"""The recall tasks as they are defined, in plain Python: what tests compare the samplers with, and benchmarks measure
against.

Nothing is shared with the samplers: problems and traces are written anew, as words, one sample at a time, from a
generator that is passed in.  No split, no numbering: these are the laws, not the samples.
"""

from collections.abc import Callable
from itertools import product
from string import ascii_lowercase

import numpy as np
from numpy.random import Generator

# a, ..., z, aa, ab, ..., zzz
LETTERS = ["".join(word) for size in (1, 2, 3) for word in product(ascii_lowercase, repeat=size)]
# Words of a trace, and for each whether it is graded.
Trace = tuple[list[str], list[bool]]


def index(random: Generator, n: int, mode: str, values: int = 16) -> Trace:
    """n letters, a place, the letter there."""
    sequence = [LETTERS[v] for v in random.integers(0, values, n)]
    place = int(random.integers(1, n + 1))
    answer = sequence[place - 1]
    search = [r"^(?:\S+\s){", str(place), r"}(\S+)"]
    return _trace(["[BOS]", *sequence, "[EOS]", str(place)], search, answer, answer, mode)


def associative_recall(random: Generator, n: int, mode: str, values: int = 0, shuffled: bool = False) -> Trace:
    """n/2 pairs of a key and a number after the keys, a key, its number."""
    pairs = n // 2
    drawn = random.integers(pairs + 1, pairs + (values or pairs) + 1, pairs).tolist()
    value = {str(key): str(number) for key, number in enumerate(drawn, 1)}
    keys = list(value)
    if shuffled:
        random.shuffle(keys)
    sequence = [word for key in keys for word in (key, value[key])]
    asked = str(random.integers(1, pairs + 1))
    search = [r"(?:^|\s)", asked, r"\s(\S+)"]
    return _trace(["[BOS]", *sequence, "[EOS]", asked], search, value[asked], value[asked], mode)


def cgram_retrieval(random: Generator, n: int, mode: str, c: int = 3, values: int = 16) -> Trace:
    """n // c grams in any order, the first c - 1 tokens of one, its last."""
    grams, base = n // c, 2
    while base ** (c - 1) < grams:
        base += 1
    keys = [[str(k // base**place % base) for place in reversed(range(c - 1))] for k in range(grams)]
    drawn = [LETTERS[v] for v in random.integers(0, values, grams)]
    sequence = ["_"] * (n % c)
    for k in random.permutation(grams):
        sequence += [*keys[k], drawn[k]]
    chosen = int(random.integers(0, grams))
    asked, answer = keys[chosen], drawn[chosen]
    search = [r"(?:^|\s)", *r" \s ".join(asked).split(), r"\s(\S+)"]
    return _trace(["[BOS]", *sequence, "[EOS]", *asked], search, answer, answer, mode)


def counting(random: Generator, n: int, mode: str, most: int = 2) -> Trace:
    """Letters that occur 0 to `most` times among fillers, a letter and a threshold, whether there are more."""
    names = LETTERS[: n // most]
    counts = random.integers(0, most + 1, len(names)).tolist()
    sequence = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    sequence += ["_"] * (n - len(sequence))
    random.shuffle(sequence)
    asked, threshold = names[int(random.integers(0, len(names)))], int(random.integers(0, most))
    more = sequence.count(asked) > threshold
    search = [r"^\[BOS\](?:(?:\s\w+)*?\s", asked, r"\b){", str(threshold), r"}(?:\s\w+)*?\s(", asked, r")\b"]
    prompt = ["[BOS]", *sequence, "[EOS]", asked, str(threshold)]
    return _trace(prompt, search, asked if more else "[FAILED]", "[TRUE]" if more else "[FALSE]", mode)


def copy(random: Generator, n: int, mode: str, values: int = 16) -> Trace:
    """n letters, and the same again."""
    sequence = [LETTERS[v] for v in random.integers(0, values, n)]
    words, graded = ["[BOS]", *sequence, "[EOS]"], [False] * (n + 2)
    for place, letter in enumerate(sequence, 1):
        if mode == "rag":
            words += ["[STARTSEARCH]", r"^(?:\S+\s){", str(place), r"}(\S+)", "[ENDSEARCH]", letter]
            graded += [True] * 5 + [False]
        words.append(letter)
        graded.append(True)
    return words, graded


def mqar(
    random: Generator,
    n: int,
    mode: str,
    vocab: int = 8192,
    pairs: int = 0,
    power: float = 0.01,
    random_filler: bool = True,
) -> Trace:
    """Zoology's MQAR (Arora et al. 2023, arXiv 2312.04927): its definition, transcribed, with numpy's own draws.

    Their public generator was not at hand, and its output was not compared.
    """
    pairs = pairs or max(1, n // 16)
    keys = random.choice(np.arange(1, vocab // 2), pairs, replace=False).tolist()
    values = random.choice(np.arange(vocab // 2, vocab), pairs, replace=False).tolist()
    slots = n // 2 - pairs
    chance = power * np.arange(1, slots + 1) ** (power - 1)
    gaps = random.choice(slots, pairs, replace=False, p=chance / chance.sum())
    asked = {int(gap): (str(key), str(value)) for gap, key, value in zip(gaps, keys, values, strict=True)}
    words = ["[BOS]", *(str(word) for pair in zip(keys, values, strict=True) for word in pair)]
    graded = [False] * len(words)
    for slot in range(int(gaps.max()) + 1):
        if slot not in asked:
            words += [str(word) for word in (random.integers(0, vocab, 2) if random_filler else (0, 0))]
            graded += [False] * 2
            continue
        key, value = asked[slot]
        words.append(key)
        graded.append(False)
        if mode == "rag":
            words += ["[STARTSEARCH]", r"(?:^|\s)", key, r"\s(\S+)", "[ENDSEARCH]", value]
            graded += [True] * 5 + [False]
        words.append(value)
        graded.append(True)
    return words, graded


SAMPLERS: dict[str, Callable[..., Trace]] = {
    sampler.__name__: sampler for sampler in (index, associative_recall, cgram_retrieval, counting, copy, mqar)
}


def _trace(prompt: list[str], query: list[str], found: str, answer: str, mode: str) -> Trace:
    target, graded = [answer], [True]
    if mode == "rag":
        target = ["[STARTSEARCH]", *query, "[ENDSEARCH]", found, "[EOS]", answer]
        graded = [True] * (len(query) + 2) + [False, True, True]
    return prompt + target, [False] * len(prompt) + graded
