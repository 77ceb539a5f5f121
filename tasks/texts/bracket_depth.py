"""Bracket depth: how many brackets are open at a word.

    so ( ( here ( ) ) ) ( ) .     -> two

The texts of a family have the same brackets, with the word at other places.  Families with the same brackets are in one
split, because they share texts.
"""

from collections.abc import Sequence

from .generated import GeneratedTexts, SampleDraws, Written, with_fillers

DEPTHS, DEEPEST, MOST_PAIRS = 3, 4, 10


class BracketDepth(GeneratedTexts):
    name = "bracket_depth"
    labels = ("one", "two", "three")
    shortest = 16
    version = 2

    def family(self, draws: SampleDraws) -> list[Written]:
        pairs = min(MOST_PAIRS, (self.n - 3) // 2)
        brackets, depths = self._brackets(draws, pairs)
        spots = [draws.pick([p for p, depth in enumerate(depths) if depth == d]) for d in range(1, DEPTHS + 1)]
        sentences, _ = with_fillers(draws, ["{} .", ""], self.n - 2 * pairs - 1)
        text = " ".join(["so", *sentences]).strip()
        return [Written(text.format(" ".join([*brackets[: p + 1], "here", *brackets[p + 1 :]]))) for p in spots]

    @staticmethod
    def common(family: Sequence[Written]) -> str:
        """The text without the word."""
        return family[0].text.replace(" here ", " ")

    @staticmethod
    def _brackets(draws: SampleDraws, pairs: int) -> tuple[list[str], list[int]]:
        """A balanced sequence that reaches `DEPTHS`, and the depth after each bracket."""
        while True:
            brackets, depths, depth, left = [], [], 0, pairs
            while left or depth:
                opens = left > 0 and (depth == 0 or (depth < DEEPEST and draws.below(2) == 0))
                depth, left = (depth + 1, left - 1) if opens else (depth - 1, left)
                brackets.append("(" if opens else ")")
                depths.append(depth)
            if max(depths) >= DEPTHS:
                return brackets, depths

    @staticmethod
    def oracle(text: str) -> int:
        before, _, _ = text.partition("here")
        return before.count("(") - before.count(")") - 1


TEXTS = BracketDepth
