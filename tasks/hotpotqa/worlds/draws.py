"""The random draws of a small world: who was born where, who wrote what, which question is asked.  Numbers only.

Axes: G families, F facts of a paragraph (also members of a family), M persons (G x F, family by family), P paragraphs
(3 G + 1), N kinds of name, A facts of a person.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...compiled import njit
from ...randomness import Rng, below, hash_on, mix, split_of, start

FAMILIES = 3
PARAGRAPHS = 3 * FAMILIES + 1
# Kinds of paragraph.  Family i has paragraph i of its births, FAMILIES + i of its works, 2 FAMILIES + i of its club;
# the last paragraph is that of the region.
BIRTHS, WORKS, CLUB, REGION = range(4)
# Kinds of name.
FIRST, LAST, TOWN, RIVER, PROFESSION, ADJECTIVE, NOUN, HOUSE, CLUB_NAME, REGION_NAME = range(10)
# Facts of a person: numbers of its town, year of birth, profession, work, year of the work.
TOWN_OF, BORN, PROFESSION_OF, WORK_OF, CAME_OUT = range(5)
# Kinds of question, in the order of words.QUESTIONS: the paragraphs where one begins and where one ends.
GOLD = np.array(
    [
        (WORKS, BIRTHS),
        (WORKS, BIRTHS),
        (WORKS, CLUB),
        (CLUB, BIRTHS),
        (CLUB, BIRTHS),
        (BIRTHS, REGION),
        (BIRTHS, CLUB),
        (REGION, BIRTHS),
        (CLUB, WORKS),
        (BIRTHS, WORKS),
        (BIRTHS, BIRTHS),
        (BIRTHS, BIRTHS),
        (CLUB, CLUB),
        (WORKS, WORKS),
    ]
)
BRIDGES = 10
OLDER, SAME_TOWN, SAME_PROFESSION, EARLIER = range(BRIDGES, len(GOLD))
BRIDGE_PERCENT = 75
# Compared years differ by 1..this: one paragraph alone hardly reveals which is earlier.
MOST_YEARS_APART = 6
WORDINGS, QUESTION_WORDINGS, KINDS_OF_WORK = 3, 2, 3


class Draws(NamedTuple):
    """Everything that was drawn.

    name_NxF: numbers of the names of each kind; of LAST, NOUN, HOUSE and CLUB_NAME only the first G are used, of
        REGION_NAME the first.  Family i has last name i, house i and club i; member k has first name k.
    fact_MxA: TOWN_OF and PROFESSION_OF are places in name_NxF; WORK_OF is adjective * G + noun, places too.
    river_F: the place of each town's river.
    kind_G: the kind of a family's works.
    order_PxF: which fact each sentence states.
    wording_PxF: with which wording.
    place_P: the paragraph at each place.
    asked: kind of question, wording, one person, the other one (the same if only one is asked about).
    """

    name_NxF: NDArray[np.int64]
    fact_MxA: NDArray[np.int64]
    river_F: NDArray[np.int64]
    kind_G: NDArray[np.int64]
    order_PxF: NDArray[np.int64]
    wording_PxF: NDArray[np.int64]
    place_P: NDArray[np.int64]
    asked: NDArray[np.int64]


@njit(cache=True, nogil=True)
def draw_world(key: np.uint64, index: int, split: int, pool_N: NDArray[np.int64], facts: int, years: int) -> Draws:
    """World `index`: drawn again until the facts of its two gold paragraphs belong to the split."""
    rng, attempt = np.empty(1, np.uint64), 0
    while True:
        start(rng, key, index, attempt)
        world = _world(rng, pool_N, facts, years)
        if split_of(_gold_hash(world)) == split:
            return world
        attempt += 1


@njit(cache=True, nogil=True)
def _world(rng: Rng, pool_N: NDArray[np.int64], facts: int, years: int) -> Draws:
    name_NxF = np.zeros((len(pool_N), max(facts, FAMILIES)), np.int64)
    for kind in range(len(pool_N)):
        _choose(rng, pool_N[kind], name_NxF[kind])
    fact_MxA = np.empty((FAMILIES * facts, 5), np.int64)
    _choose(rng, FAMILIES * facts, fact_MxA[:, WORK_OF])
    for family in range(FAMILIES):
        _choose(rng, facts, fact_MxA[family * facts : (family + 1) * facts, TOWN_OF])
        _choose(rng, facts, fact_MxA[family * facts : (family + 1) * facts, PROFESSION_OF])
    for person in range(len(fact_MxA)):
        fact_MxA[person, BORN] = below(rng, years)
        fact_MxA[person, CAME_OUT] = below(rng, years)
    river_F, kind_G = np.empty(facts, np.int64), np.empty(FAMILIES, np.int64)
    _choose(rng, facts, river_F)
    for family in range(FAMILIES):
        kind_G[family] = below(rng, KINDS_OF_WORK)
    asked = np.empty(4, np.int64)
    _ask(rng, fact_MxA, facts, years, asked)
    order_PxF, wording_PxF = np.empty((PARAGRAPHS, facts), np.int64), np.empty((PARAGRAPHS, facts), np.int64)
    for paragraph in range(PARAGRAPHS):
        _choose(rng, facts, order_PxF[paragraph])
        for fact in range(facts):
            wording_PxF[paragraph, fact] = below(rng, WORDINGS)
    place_P = np.empty(PARAGRAPHS, np.int64)
    _choose(rng, PARAGRAPHS, place_P)
    return Draws(name_NxF, fact_MxA, river_F, kind_G, order_PxF, wording_PxF, place_P, asked)


@njit(cache=True, nogil=True)
def _ask(rng: Rng, fact_MxA: NDArray[np.int64], facts: int, years: int, asked: NDArray[np.int64]) -> None:
    """Draw the question and its persons.  Compared years are set close to each other; the answers yes and no, and which
    of the two is older, are fair coins."""
    person = below(rng, len(fact_MxA))
    asked[1], asked[2], asked[3] = below(rng, QUESTION_WORDINGS), person, person
    if below(rng, 100) < BRIDGE_PERCENT:
        asked[0] = below(rng, BRIDGES)
        return
    kind = BRIDGES + below(rng, len(GOLD) - BRIDGES)
    family = (person // facts + 1 + below(rng, FAMILIES - 1)) % FAMILIES
    other, shared = family * facts + below(rng, facts), PROFESSION_OF if kind == SAME_PROFESSION else TOWN_OF
    alike = kind != OLDER and below(rng, 2) == 0
    while kind != EARLIER and (fact_MxA[other, shared] == fact_MxA[person, shared]) != alike:
        other = family * facts + below(rng, facts)
    if kind in (EARLIER, OLDER):
        year, apart = CAME_OUT if kind == EARLIER else BORN, 1 + below(rng, MOST_YEARS_APART)
        earlier, first = below(rng, years - apart), below(rng, 2)
        fact_MxA[person, year] = earlier + apart * first
        fact_MxA[other, year] = earlier + apart * (1 - first)
    asked[0], asked[3] = kind, other


@njit(cache=True, nogil=True)
def _choose(rng: Rng, size: int, chosen: NDArray[np.int64]) -> None:
    """Fill `chosen` with different numbers below `size`; all such sequences are equally likely."""
    values = np.arange(size)
    for place in range(len(chosen)):
        other = place + below(rng, size - place)
        chosen[place], values[other] = values[other], values[place]


@njit(cache=True, nogil=True)
def _gold_hash(world: Draws) -> np.uint64:
    """Hash of the facts in the two gold paragraphs, whatever the order, the wording and the question."""
    facts = len(world.river_F)
    kinds = GOLD[world.asked[0]]
    told = _paragraph_hash(world, kinds[0], world.asked[2] // facts)
    return mix(told + _paragraph_hash(world, kinds[1], world.asked[3] // facts))


@njit(cache=True, nogil=True)
def _paragraph_hash(world: Draws, kind: int, family: int) -> np.uint64:
    """The sum of the hashes of its sentences' facts."""
    name_NxF, told = world.name_NxF, np.uint64(0)
    for member in range(len(world.river_F)):
        fact_A = world.fact_MxA[family * len(world.river_F) + member]
        hashed = hash_on(np.uint64(kind), name_NxF[LAST, family])
        if kind != REGION:
            hashed = hash_on(hashed, name_NxF[FIRST, member])
        if kind == BIRTHS:
            hashed = hash_on(hash_on(hashed, name_NxF[TOWN, fact_A[TOWN_OF]]), fact_A[BORN])
        elif kind == WORKS:
            hashed = hash_on(hash_on(hashed, name_NxF[HOUSE, family]), world.kind_G[family])
            hashed = hash_on(hashed, name_NxF[ADJECTIVE, fact_A[WORK_OF] // FAMILIES])
            hashed = hash_on(hash_on(hashed, name_NxF[NOUN, fact_A[WORK_OF] % FAMILIES]), fact_A[CAME_OUT])
        elif kind == CLUB:
            hashed = hash_on(hashed, name_NxF[CLUB_NAME, family])
            hashed = hash_on(hashed, name_NxF[PROFESSION, fact_A[PROFESSION_OF]])
        else:
            hashed = hash_on(hash_on(np.uint64(kind), name_NxF[REGION_NAME, 0]), name_NxF[TOWN, member])
            hashed = hash_on(hashed, name_NxF[RIVER, world.river_F[member]])
        told += mix(hashed)
    return told
