"""Negation scope: which half of a sentence does "not" belong to?

    the lamp is not on and the radio is on . is the lamp on ?     -> no
    the lamp is on and the radio is not on . is the lamp on ?     -> yes

A single sentence decides, anywhere in the text: `Example.place` is its position.
"""

import re

from .generated import GeneratedTexts, SampleDraws, Written
from .words import DEVICES, FILLER_WORDS, filler

WORDS_AROUND = 16  # of the two sentences


class NegationScope(GeneratedTexts):
    name = "negation_scope"
    labels = ("yes", "no")
    shortest = WORDS_AROUND

    def family(self, draws: SampleDraws) -> list[Written]:
        one, other = draws.some(DEVICES, 2)
        asked_first = draws.below(2) == 0
        fillers = [filler(draws.below) for _ in range((self.n - WORDS_AROUND) // FILLER_WORDS)]
        before = draws.below(len(fillers) + 1)
        place = before / len(fillers) if fillers else None
        negations = [f"the {one} is not on and the {other} is on .", f"the {one} is on and the {other} is not on ."]
        question = f"is the {one if asked_first else other} on ?"
        texts = [
            Written(" ".join([*fillers[:before], sentence, *fillers[before:], question]), place)
            for sentence in negations
        ]
        return texts[::-1] if asked_first else texts

    @staticmethod
    def oracle(text: str) -> int:
        asked = re.search(r"is the (\w+) on \?", text)
        if asked is None:
            raise ValueError(f"no question in {text!r}")
        return int(f"the {asked[1]} is not on" in text)


TEXTS = NegationScope
