"""The searches of the traces.

A search is a regular expression.  It is run on each sentence shown, with the title of its paragraph before it
(`Title: sentence`, here a *line*), and finds the first line that it matches.

A gold search is written from what is known by then, the question and the lines found: a name that occurs in the line
sought, a name and another word (`Frank Dumont.* born`), or two names.  It must find that line and, if possible, match
no other line of the question's paragraphs, shown or not, so that it does not depend on what is shown.  If nothing known
leads to the line, it uses words of the line itself, the commonest first; the model has to take them from the context.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

# Characters of a search; a longer one finds nothing.
LONGEST_QUERY = 256
# How many phrases of each kind are tried together with another.
PAIRED = 6
# Words that say nothing, and have a capital only at the start of a sentence.
FUNCTION_WORDS = frozenset(
    "a after also an and are as at before between but by called did do does for from had has have he her his how if "
    "in is it its no of on or same she since than that the their they this to was were what when where which while "
    "who whose whom why with yes".split()
)
# What a pattern looks for, in this order.
Phrases = tuple[str, ...]
_WORD = re.compile(r"\w+(?:[-.'’]\w+)*")
_SPECIAL = re.compile(r"[\\.+*?()\[\]{}|^$]")


@dataclass(frozen=True)
class Search:
    """A gold search.  place: index of the line that it finds.  known: whether it uses only what is known."""

    pattern: str
    place: int
    known: bool


def gold_search(
    known: str, lines: Sequence[str], wanted: int, elsewhere: Sequence[str], fits: Callable[[str], bool]
) -> Search:
    """The search for `lines[wanted]` from the known text, among the patterns that fit.

    elsewhere: lines that are not shown; a search that matches none of them is preferred.
    If no phrases find the line first, its start is the pattern, and `place` that of the first line that contains it.
    """
    line, right = lines[wanted], None
    for phrases in _known_phrases(known, line):
        if _first(phrases, lines) == wanted and fits(pattern_of(phrases)):
            right = right or phrases
            if sum(_matches(phrases, other) for other in (*lines, *elsewhere)) == 1:
                return Search(pattern_of(phrases), wanted, True)
    if right:
        return Search(pattern_of(right), wanted, True)
    for phrases in _own_phrases(known, lines, line):
        if _first(phrases, lines) == wanted and fits(pattern_of(phrases)):
            return Search(pattern_of(phrases), wanted, False)
    start = line
    while not fits(pattern_of((start,))):
        start = start[:-1]
    return Search(pattern_of((start,)), next(place for place, other in enumerate(lines) if start in other), False)


def pattern_of(phrases: Phrases) -> str:
    """The pattern, for Python's `re` and for RE2, that finds phrases literally, one after the other."""
    return ".* ".join(_SPECIAL.sub(r"\\\g<0>", phrase) for phrase in phrases)


def _matches(phrases: Phrases, line: str) -> bool:
    """Whether the pattern of these phrases matches a line."""
    at = 0
    for number, phrase in enumerate(phrases):
        phrase = f" {phrase}" if number else phrase
        at = line.find(phrase, at)
        if at < 0:
            return False
        at += len(phrase)
    return True


def _first(phrases: Phrases, lines: Sequence[str]) -> int:
    """The index of the first line that they match; -1 if they match none, or all of several."""
    matching = [place for place, line in enumerate(lines) if _matches(phrases, line)]
    return matching[0] if matching and (len(matching) < len(lines) or len(lines) == 1) else -1


def shared_names(known: str, line: str) -> list[str]:
    """The longest phrases that begin and end with a name or number and that a known text shares with a line; those with
    more names first, then the longer ones, then the earlier."""
    words = list(_WORD.finditer(known))
    phrases: dict[str, None] = {}
    end = 0
    for first, word in enumerate(words):
        if first < end or not _is_name(word[0]):
            continue
        last = first
        for place in range(first, len(words)):
            if not _holds(line, known[word.start() : words[place].end()]):
                break
            if _is_name(words[place][0]):
                last, end = place, place + 1
        if end > first:
            phrases[known[word.start() : words[last].end()]] = None
    return sorted(phrases, key=lambda phrase: (-name_count(phrase), -len(phrase)))


def unlike(known: str, lines: Sequence[str], line: str) -> tuple[int, int]:
    """A sort key, smaller for a line that is easier to find from a known text: more of its names are known in a row,
    then fewer lines have these names."""
    names = shared_names(known, line)
    return (-name_count(names[0]), sum(_holds(other, names[0]) for other in lines)) if names else (0, 0)


def name_count(phrase: str) -> int:
    """How many of its words are names or numbers."""
    return sum(_is_name(word) for word in _WORD.findall(phrase))


def _is_name(word: str) -> bool:
    return word[0].isdigit() or (word[0].isupper() and word.lower() not in FUNCTION_WORDS)


def _holds(line: str, phrase: str) -> bool:
    """Whether a phrase occurs in a line as whole words."""
    at = line.find(phrase)
    while at >= 0:
        around = line[max(0, at - 1) : at] + line[at + len(phrase) : at + len(phrase) + 1]
        if not any(_WORD.match(sign) for sign in around):
            return True
        at = line.find(phrase, at + 1)
    return False


def _known_phrases(known: str, line: str) -> Iterator[Phrases]:
    """Names alone, a name and another word, two names, two words."""
    names = shared_names(known, line)
    in_line = set(_WORD.findall(line))
    words = [word for word in dict.fromkeys(_WORD.findall(known)) if word in in_line and _tells(word)]
    yield from ((name,) for name in names)
    names, words = names[:PAIRED], words[:PAIRED]
    for pairs in (product(names, words), permutations(names, 2), permutations(words, 2)):
        for one, other in pairs:
            yield from _together(one, other, line)


def _tells(word: str) -> bool:
    return not _is_name(word) and word.lower() not in FUNCTION_WORDS


def _together(one: str, other: str, line: str) -> Sequence[Phrases]:
    """Two phrases in the order in which they occur; if both orders occur, the phrase in the title comes first."""
    title, ways = line.partition(":")[0], ((one, other), (other, one))
    return [way for way in sorted(ways, key=lambda way: way[0] not in title) if _matches(way, line)][:1]


def _own_phrases(known: str, lines: Sequence[str], line: str) -> Iterator[Phrases]:
    """A known name and a word of the line, then words of the line alone, those of the most lines first."""
    of_lines = [set(_WORD.findall(other)) for other in lines]
    own = [word for word in dict.fromkeys(_WORD.findall(line)) if word.lower() not in FUNCTION_WORDS]
    own.sort(key=lambda word: -sum(word in words for words in of_lines))
    for name in shared_names(known, line):
        for word in own:
            if word not in name:
                yield from _together(name, word, line)
    yield from ((word,) for word in own)
    for one, other in permutations(own, 2):
        yield from _together(one, other, line)
