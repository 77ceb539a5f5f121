"""Swap tracking: three people swap balls; what colour has one of them at the end?

    so anna has the red ball . ben has the blue ball . carl has the green ball . anna and ben swap .
    what does anna have ?
    -> blue

The texts of a family differ in who has which ball at the start.
"""

import re

from .generated import GeneratedTexts, SampleDraws, Written, steps_of, with_fillers
from .words import COLOURS, NAMES

PEOPLE = 3


class SwapTracking(GeneratedTexts):
    name = "swap_tracking"
    labels = COLOURS[:PEOPLE]
    shortest = 29

    def family(self, draws: SampleDraws) -> list[Written]:
        people, colours = draws.some(NAMES, PEOPLE), draws.some(range(PEOPLE), PEOPLE)
        swaps = [draws.some(range(PEOPLE), 2) for _ in range(steps_of(self.n))]
        asked = draws.below(PEOPLE)
        holds = list(range(PEOPLE))  # whose first ball each person has at the end
        for one, other in swaps:
            holds[one], holds[other] = holds[other], holds[one]
        parts = [f"{person} has the {{{place}}} ball ." for place, person in enumerate(people)]
        parts += [f"{people[one]} and {people[other]} swap ." for one, other in swaps]
        parts.append(f"what does {people[asked]} have ?")
        sentences, _ = with_fillers(draws, parts, self.n - 1)
        text = " ".join(["so", *sentences])
        texts = {}
        for shift in range(PEOPLE):
            begun = [(colour + shift) % PEOPLE for colour in colours]
            texts[begun[holds[asked]]] = text.format(*(COLOURS[colour] for colour in begun))
        return [Written(texts[label]) for label in range(PEOPLE)]

    @staticmethod
    def oracle(text: str) -> int:
        balls: dict[str, str] = {}
        for sentence in re.split(r" [.?] ?", text.removeprefix("so ")):
            match sentence.split():
                case [person, "has", "the", colour, "ball"]:
                    balls[person] = colour
                case [one, "and", other, "swap"]:
                    balls |= {one: balls[other], other: balls[one]}
                case ["what", "does", person, "have"]:
                    return COLOURS.index(balls[person])
        raise ValueError(f"no question in {text!r}")


TEXTS = SwapTracking
