"""Which came first: two people come home; did one come before the other?

so anna came home . ben came home . did anna come home before ben ?     -> yes
so ben came home . anna came home . did anna come home before ben ?     -> no
"""

import re

from .generated import GeneratedTexts, SampleDraws, Written, with_fillers
from .words import NAMES


class WhichCameFirst(GeneratedTexts):
    name = "which_came_first"
    labels = ("yes", "no")
    shortest = 16

    def family(self, draws: SampleDraws) -> list[Written]:
        one, other = draws.some(NAMES, 2)
        parts = [f"{one} came home .", f"{other} came home .", f"did {one} come home before {other} ?"]
        sentences, _ = with_fillers(draws, parts, self.n - 1)
        first, second = (sentences.index(part) for part in parts[:2])
        swapped = list(sentences)
        swapped[first], swapped[second] = sentences[second], sentences[first]
        return [Written(" ".join(["so", *each])) for each in (sentences, swapped)]

    @staticmethod
    def oracle(text: str) -> int:
        asked = re.search(r"did (\w+) come home before (\w+)", text)
        if asked is None:
            raise ValueError(f"no question in {text!r}")
        came = re.findall(r"(\w+) came home", text)
        return 0 if came.index(asked[1]) < came.index(asked[2]) else 1


TEXTS = WhichCameFirst
