"""Questions about small made-up worlds, in HotpotQA's form: without limit and without a download.

A world has three families, and ten paragraphs of a few short sentences each.  Every family has a paragraph on its
members' births, one on their works and one on the club that they are in; the tenth has the rivers of the towns.

    Weber family     Anna Weber was born in Corvo in 1921.  In 1903 Boris Weber was born in Norby.  ...
    Comet Press      Boris Weber wrote the novel Silver Tower in 1971.  The novel Golden River by Anna Weber came ...
    Crane Club       The baker of the club is called Boris Weber.  Anna Weber joined the club as a judge.  ...
    Andoria          The river Arva flows through the town of Corvo.  In Andoria the Kolva is the river of Norby.  ...

    In which town was the author of the novel Silver Tower born?  Norby    (gold: Comet Press, then Weber family)

Three questions in four follow a bridge from one paragraph to another (ten kinds), the others compare two people or
works of different families (four kinds).  Every answer is one word.  What makes them hard to guess:

* All families have the same first names, and live in the same towns and have the same professions, one member each;
  works share their words.  So no name, town or profession is more frequent than others of its kind, whichever
  paragraphs are shown, and each paragraph has one candidate per sentence.
* No fact is stated twice, and no paragraph has both ends of a bridge.
* All members of a family are in each of its paragraphs, so a name in both gold paragraphs reveals nothing.
* yes and no, and which of two is the older, are fair coins; compared years are close to each other.

Splits are by the facts of the two gold paragraphs: whatever is shown beside them, no training problem occurs in a test.
solver.py answers the questions by reading the sentences.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...api import Split, TaskError
from ...randomness import SPLITS
from ..data.pool import hash_of
from ..data.records import Paragraph, Question
from . import draws
from .words import (
    FIRST_BORN,
    FIRST_OUT,
    NAMES,
    QUESTIONS,
    SENTENCES,
    TITLES,
    WORKS,
    YEARS,
)

# The slot of a person that holds the answer, by kind of question.  Later kinds compare.
ANSWERS = ("town", "year", "profession", "town", "year", "river", "profession", "first", "out", "out")


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """facts: sentences per paragraph, and members per family; a guess is right once in `facts` times.
    names: number of names of each kind in all worlds; fewer are easier to learn.  Some kinds have only 12 to 20.
    Raises TaskError for facts outside 2..6, or names outside facts (at least 3) .. 24."""

    facts: int = 3
    names: int = 24

    def __post_init__(self) -> None:
        fewest_names = max(self.facts, draws.FAMILIES)
        for name, value, smallest, largest in (("facts", self.facts, 2, 6), ("names", self.names, fewest_names, 24)):
            if not smallest <= value <= largest:
                raise TaskError(f"hotpotqa: --{name} {value} is outside {smallest}..{largest}")


DEFAULT = WorldConfig()


def world_question(seed: int, split: Split, index: int, config: WorldConfig = DEFAULT) -> Question:
    """Question `index` of a split: a pure function of the arguments.  Ten paragraphs, the two gold ones among them.

    `supporting` has the two sentences in the order in which they are needed, and so has `gold_titles`.
    Raises TaskError for an unknown split, a seed outside 0..2**63-1 or an index below 0.
    """
    if split not in SPLITS or not 0 <= seed < 2**63 or not 0 <= index < 2**63:
        raise TaskError(f"hotpotqa: no question {index} of split {split!r} and seed {seed}")
    drawn = draws.draw_world(_key(seed, split, config), index, SPLITS.index(split), _pools(config), config.facts, YEARS)
    world = _World(drawn, config.facts)
    kind, wording, person, other = drawn.asked.tolist()
    text, answer = world.question(kind, wording, person, other)
    return Question(
        id=f"world-{config.facts}-{config.names}-{seed}-{split}-{index}",
        question=text,
        answer=answer,
        kind="bridge" if kind < draws.BRIDGES else "comparison",
        level="",
        paragraphs=tuple(world.paragraph(place) for place in drawn.place_P.tolist()),
        supporting=tuple(world.supporting(kind, person, other)),
    )


class _World:
    """The names and facts of one world as text."""

    def __init__(self, drawn: draws.Draws, facts: int) -> None:
        self._facts = facts
        self._order_PxF, self._wording_PxF = drawn.order_PxF.tolist(), drawn.wording_PxF.tolist()
        self._fact_MxA = drawn.fact_MxA.tolist()
        names = [[pool[place] for place in row] for pool, row in zip(NAMES, drawn.name_NxF.tolist(), strict=True)]
        kind_G, river_F = drawn.kind_G.tolist(), drawn.river_F.tolist()
        self._slots = [
            _slots(names, fact_A, person // facts, person % facts, kind_G[person // facts], river_F)
            for person, fact_A in enumerate(self._fact_MxA)
        ]
        # The persons from whose slots the sentences of the region's paragraph are written: one of each town.
        self._of_town = sorted(range(facts), key=lambda person: self._fact_MxA[person][draws.TOWN_OF])

    def paragraph(self, place: int) -> Paragraph:
        """Paragraph `place` of the world, families first."""
        kind, family = divmod(place, draws.FAMILIES)
        wordings = SENTENCES[kind]
        sentences = [
            wordings[wording].format_map(self._slots[self._subject(kind, family, fact)])
            for fact, wording in zip(self._order_PxF[place], self._wording_PxF[place], strict=True)
        ]
        return Paragraph(self._title(kind, family), tuple(sentences))

    def question(self, kind: int, wording: int, person: int, other: int) -> tuple[str, str]:
        """The question's text and its answer."""
        one, two = self._slots[person], self._slots[other]
        what = "work" if kind == draws.EARLIER else "person"
        return QUESTIONS[kind][wording].format_map({**one, "other": two[what]}), _answer(kind, one, two)

    def supporting(self, kind: int, person: int, other: int) -> list[tuple[str, int]]:
        """Title and number of the sentences that the answer rests on."""
        facts = []
        for paragraph, subject in zip(draws.GOLD[kind].tolist(), (person, other), strict=True):
            region = paragraph == draws.REGION
            family = 0 if region else subject // self._facts
            fact = self._fact_MxA[subject][draws.TOWN_OF] if region else subject % self._facts
            sentence = self._order_PxF[paragraph * draws.FAMILIES + family].index(fact)
            facts.append((self._title(paragraph, family), sentence))
        return facts

    def _subject(self, kind: int, family: int, fact: int) -> int:
        return self._of_town[fact] if kind == draws.REGION else family * self._facts + fact

    def _title(self, kind: int, family: int) -> str:
        return TITLES[kind].format_map(self._slots[family * self._facts])


def _slots(
    names: list[list[str]], fact_A: list[int], family: int, member: int, kind: int, river_F: list[int]
) -> dict[str, str]:
    """What fills the braces of wordings about one person."""
    town, born, profession, work, out = fact_A
    adjective, noun = divmod(work, draws.FAMILIES)
    first, last = names[draws.FIRST][member], names[draws.LAST][family]
    return {
        "person": f"{first} {last}",
        "first": first,
        "last": last,
        "town": names[draws.TOWN][town],
        "river": names[draws.RIVER][river_F[town]],
        "year": str(FIRST_BORN + born),
        "profession": names[draws.PROFESSION][profession],
        "work": f"{names[draws.ADJECTIVE][adjective]} {names[draws.NOUN][noun]}",
        "out": str(FIRST_OUT + out),
        "club": names[draws.CLUB_NAME][family],
        "house": f"{names[draws.HOUSE][family]} {WORKS[kind]['firm']}",
        "region": names[draws.REGION_NAME][0],
        **WORKS[kind],
    }


def _answer(kind: int, one: dict[str, str], two: dict[str, str]) -> str:
    if kind < draws.BRIDGES:
        return one[ANSWERS[kind]]
    if kind == draws.OLDER:
        return min(one, two, key=lambda slots: slots["year"])["town"]
    if kind == draws.EARLIER:
        return "yes" if one["out"] < two["out"] else "no"
    same = "town" if kind == draws.SAME_TOWN else "profession"
    return "yes" if one[same] == two[same] else "no"


@lru_cache(maxsize=64)
def _key(seed: int, split: str, config: WorldConfig) -> np.uint64:
    return np.uint64(hash_of("world", str(config.facts), str(config.names), str(seed), split))


@lru_cache(maxsize=64)
def _pools(config: WorldConfig) -> np.ndarray:
    return np.array([min(config.names, len(pool)) for pool in NAMES], np.int64)
