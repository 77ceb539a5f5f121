"""The tasks on sequences and find_path, in plain Python from their definitions: a reference for tests and benchmarks.

They share no code with the samplers: problems and traces are lists of words, one sample at a time, from a generator
that is passed in.  There are no splits and no sample numbers: the distributions are the same, not the samples.
"""

import itertools
from collections.abc import Callable, Sequence
from itertools import permutations, product
from string import ascii_lowercase

import numpy as np
from numpy.random import Generator

# a, ..., z, aa, ab, ..., zzz
LETTERS = ["".join(word) for size in (1, 2, 3) for word in product(ascii_lowercase, repeat=size)]
# Words of a trace, and whether each is graded.
Trace = tuple[list[str], list[bool]]


def index(random: Generator, n: int, mode: str, values: int = 16) -> Trace:
    """n letters, a place, the letter there."""
    sequence = [LETTERS[v] for v in random.integers(0, values, n)]
    place = int(random.integers(1, n + 1))
    answer = sequence[place - 1]
    search = [r"^(?:\S+\s){", str(place), r"}(\S+)"]
    return _trace(["[BOS]", *sequence, "[EOS]", str(place)], search, answer, answer, mode)


def associative_recall(random: Generator, n: int, mode: str, values: int = 0, shuffled: bool = False) -> Trace:
    """n/2 pairs of a key and a number above all keys, a key, its number."""
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
    """n // c grams in any order, the first c - 1 tokens of one, its last token."""
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
    """Letters that occur 0 to `most` times among fillers, a letter and a threshold, whether it occurs more often."""
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
    """Zoology's MQAR (Arora et al. 2023, arXiv 2312.04927): its definition, transcribed, with numpy's random draws."""
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


def position_retrieval(random: Generator, n: int, mode: str) -> Trace:
    """A permutation of n letters, one of them, its place; searches halve the remaining places."""
    sequence = [LETTERS[k] for k in random.permutation(n)]
    asked = LETTERS[int(random.integers(0, n))]
    place = sequence.index(asked) + 1
    words, graded = ["[BOS]", *sequence, "[EOS]", asked], [False] * (n + 3)
    left, right = 1, 1
    while right < n:
        right *= 2
    while mode == "rag" and left < right:
        middle = (left + right) // 2
        among = min(middle, n)
        found = asked in sequence[:among]
        left, right = (left, middle) if found else (middle + 1, right)
        search = ["[STARTSEARCH]", r"^(?:\S+\s){1,", f"{among}}}(", asked, r")(?:\s|$)", "[ENDSEARCH]"]
        words += [*search, asked if found else "[FAILED]"]
        graded += [True] * 6 + [False]
    closing = [str(place)] if mode == "direct" else ["[EOS]", str(left)]
    return words + closing, graded + [True] * len(closing)


def last_write(random: Generator, n: int, mode: str, variables: int = 0, values: int = 16) -> Trace:
    """n/2 assignments with last writes at random places, a variable, its last value."""
    writes = n // 2
    variables = variables or min(8, writes)
    ends = sorted([writes - 1, *random.choice(writes - 1, variables - 1, replace=False).tolist()])
    end_of = dict(zip(random.permutation(variables).tolist(), ends, strict=True))
    sequence, held = [], {}
    for place in range(writes):
        to_come = [v for v in sorted(end_of) if end_of[v] > place]
        ending = [v for v in end_of if end_of[v] == place]
        variable = LETTERS[ending[0] if ending else to_come[int(random.integers(0, len(to_come)))]]
        held[variable] = str(random.integers(0, values))
        sequence += [variable, held[variable]]
    asked = LETTERS[int(random.integers(0, variables))]
    search = [r"^.*\s", asked, r"\s(\d+)"]
    return _trace(["[BOS]", *sequence, "[EOS]", asked], search, held[asked], held[asked], mode)


def word_problem(
    random: Generator, n: int, mode: str, group: str = "S3", elements: str = "all", ask: str = "end"
) -> Trace:
    """n elements, their product; or each with the product so far."""
    points = range(int(group[1:]))
    if group[0] == "Z":
        members = [tuple((i + k) % len(points) for i in points) for k in points]
        steps = members[:2]
    else:
        members = [p for p in permutations(points) if group[0] == "S" or _is_even(p)]
        moved = [(0, 1, k) for k in points[2:]] if group[0] == "A" else [(k, k + 1) for k in points[:-1]]
        steps = [tuple(points), *(_cycle(step, len(points)) for step in moved)]
    drawn = members if elements == "all" else steps
    product, names, products = tuple(points), [], []
    for k in random.integers(0, len(drawn), n):
        product = tuple(drawn[k][i] for i in product)
        names.append(_spelled(drawn[k], group))
        products.append(_spelled(product, group))
    if ask == "each":
        words = ["[BOS]", *(word for pair in zip(names, products, strict=True) for word in (pair[0], "=" + pair[1]))]
        return words, [k > 0 and k % 2 == 0 for k in range(len(words))]
    target = [*([*products, "[EOS]"] if mode == "cot" else []), "=" + products[-1]]
    return ["[BOS]", *names, "[EOS]", *target], [False] * (n + 2) + [True] * len(target)


def find_path(random: Generator, n: int, mode: str, names: int = 0, ask: str = "reach", calls: str = "many") -> Trace:
    """Facts of two chains with dead ends, both of one shape, a start and a target; whether the start leads to the
    target, or the path."""
    half, links = n // 2, (n // 2 + 1) // 3
    parts = random.choice(names or n, n, replace=False).reshape(2, half).tolist()
    places = random.permutation(2 * links)[: half - 1 - links].tolist()
    facts = [pair for part in parts for pair in itertools.pairwise(part[: links + 1])]
    for part in parts:
        for place, end in zip(places, part[links + 1 :], strict=True):
            facts.append((part[place], end) if place < links else (end, part[place - links + 1]))
    random.shuffle(facts)
    chain, other = (parts[k] for k in random.integers(0, 2, 2))
    first, target = chain[0], other[int(random.integers(1, links + 1))]
    if ask == "path":
        other, target = chain, chain[links]
    words = ["[BOS]", *(str(word) for a, b in facts for word in (a, ">", b)), "[EOS]", str(first), str(target)]
    graded, searches = [False] * len(words), {"one": 1, "many": n * n}[calls] if mode == "rag" else 0
    steps = _depth_first(first, target, facts)
    for node, behind, found in steps:
        if searches > 0:
            later = [] if behind is None else [r"\s>\s", str(behind), r"\s(?:.*?\s)?", str(node)]
            result = "[FAILED]" if found is None else str(found)
            words += ["[STARTSEARCH]", r"(?:^|\s)", str(node), *later, r"\s>\s(\d+)", "[ENDSEARCH]", result]
            graded += [True] * (5 + len(later) - 1) + [True, False]
        elif ask == "reach" and mode != "direct" and found is not None:
            words.append(str(found))
            graded.append(True)
        searches -= 1
        if ask == "path" and behind is None and found is not None and node != first:
            words.append(f"={node}")
            graded.append(True)
            if node == chain[links - 1]:
                break
    closing = [] if ask == "path" else ["[EOS]"] * (mode != "direct") + ["[TRUE]" if other is chain else "[FALSE]"]
    return words + closing, graded + [True] * len(closing)


def _depth_first(first: int, target: int, facts: Sequence[tuple[int, int]]) -> list[tuple[int, int | None, int | None]]:
    """Search steps: a node, the child after which its next is sought (None: the first), the child found or None."""
    following: dict[int | None, list[int]] = {}
    for a, b in facts:
        following.setdefault(a, []).append(b)
    steps: list[tuple[int, int | None, int | None]] = []

    def seek(node: int, behind: int | None) -> int | None:
        place = 0 if behind is None else following[node].index(behind) + 1
        found = next(iter(following.get(node, [])[place:]), None)
        steps.append((node, behind, found))
        return found

    node, found = first, seek(first, None)
    while found is not None and found != target:
        child = seek(found, None)
        if child is None:
            found = seek(node, found)
        else:
            node, found = found, child
    return steps


SAMPLERS: dict[str, Callable[..., Trace]] = {
    sampler.__name__: sampler
    for sampler in (
        index,
        associative_recall,
        cgram_retrieval,
        counting,
        copy,
        mqar,
        position_retrieval,
        last_write,
        word_problem,
        find_path,
    )
}


def _trace(prompt: list[str], query: list[str], found: str, answer: str, mode: str) -> Trace:
    target, graded = [answer], [True]
    if mode == "rag":
        target = ["[STARTSEARCH]", *query, "[ENDSEARCH]", found, "[EOS]", answer]
        graded = [True] * (len(query) + 2) + [False, True, True]
    return prompt + target, [False] * len(prompt) + graded


def _is_even(permutation: Sequence[int]) -> bool:
    return sum(a > b for a, b in itertools.combinations(permutation, 2)) % 2 == 0


def _cycle(moved: Sequence[int], points: int) -> tuple[int, ...]:
    """A permutation: each moved point goes to the next, the last to the first; all others stay."""
    goes = dict(zip(moved, [*moved[1:], moved[0]], strict=True))
    return tuple(goes.get(i, i) for i in range(points))


def _spelled(element: Sequence[int], group: str) -> str:
    return str(element[0]) if group[0] == "Z" else "".join(str(i + 1) for i in element)
