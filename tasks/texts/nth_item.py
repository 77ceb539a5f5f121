"""Nth item: the colour at a place of a list.

    so the list is red green blue yellow red blue . what is item three ?     -> blue

The texts of a family differ in the item at that place: it is swapped with another of the list.  Families whose lists
have the same items, in any order, are in one split, because they share texts.
"""

import re
from collections.abc import Sequence

from .generated import GeneratedTexts, SampleDraws, Written, with_fillers
from .words import COLOURS, NUMBERS

WORDS_AROUND = 10  # of the two sentences, without the items


class NthItem(GeneratedTexts):
    name = "nth_item"
    labels = COLOURS
    shortest = 16
    version = 2

    def family(self, draws: SampleDraws) -> list[Written]:
        items = min(len(NUMBERS), self.n - WORDS_AROUND)
        more = [draws.pick(COLOURS) for _ in range(items - len(COLOURS))]
        base = draws.some([*COLOURS, *more], items)
        asked = draws.below(items)
        parts = ["the list is {} .", f"what is item {NUMBERS[asked]} ?"]
        sentences, _ = with_fillers(draws, parts, self.n - items)
        text = " ".join(["so", *sentences])
        written = []
        for colour in COLOURS:
            listed, other = list(base), base.index(colour)
            if base[asked] != colour:
                listed[asked], listed[other] = listed[other], listed[asked]
            written.append(Written(text.format(" ".join(listed))))
        return written

    @staticmethod
    def common(family: Sequence[Written]) -> str:
        """The text with its list sorted."""
        before, listed, after = re.split(r"(?<=list is )([^.]*)(?= \.)", family[0].text, maxsplit=1)
        return before + " ".join(sorted(listed.split())) + after

    @staticmethod
    def oracle(text: str) -> int:
        listed = re.search(r"list is ([^.]*) \.", text)
        asked = re.search(r"item (\w+) \?", text)
        if listed is None or asked is None:
            raise ValueError(f"no list or no question in {text!r}")
        return COLOURS.index(listed[1].split()[NUMBERS.index(asked[1])])


TEXTS = NthItem
