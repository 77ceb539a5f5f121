"""Answers the questions of questions.py by reading: the oracle.  It shares no code and no wording with the sampler.

Every sentence is matched against this module's own patterns and becomes facts; a question becomes a walk over the facts
of the paragraphs given.  It never guesses: if a fact is missing, or two fit, there is no answer.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

NAME = r"[A-Z]\w+ [A-Z]\w+"


class Readable(Protocol):
    """A paragraph: of a record, or as shown."""

    @property
    def title(self) -> str: ...
    @property
    def sentences(self) -> tuple[str, ...]: ...


@dataclass
class Facts:
    """What has been read.  People and works are known by their full names."""

    town: dict[str, str] = field(default_factory=dict)
    born: dict[str, int] = field(default_factory=dict)
    maker: dict[str, str] = field(default_factory=dict)
    out: dict[str, int] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)
    club: dict[str, str] = field(default_factory=dict)
    river: dict[str, str] = field(default_factory=dict)


def read(paragraphs: Iterable[Readable]) -> Facts:
    """The facts of these paragraphs; a sentence of no known kind adds nothing."""
    facts = Facts()
    for paragraph in paragraphs:
        for sentence in paragraph.sentences:
            _read_sentence(facts, paragraph.title, sentence)
    return facts


def _read_sentence(facts: Facts, title: str, sentence: str) -> None:
    year = re.search(r"\b\d{4}\b", sentence)
    if birth := re.search(rf"({NAME}) was born", sentence):
        place = re.search(r"was born in ([A-Z]\w+)", sentence) or re.match(r"The town of (\w+) is where", sentence)
        if place and year:
            facts.town[birth[1]], facts.born[birth[1]] = place[1], int(year[0])
    elif work := re.search(rf"(?:novel|film|song) ({NAME})", sentence):
        by = re.search(rf"({NAME}) (?:wrote|directed|composed)|by ({NAME})", sentence)
        if by and year:
            facts.maker[work[1]], facts.out[work[1]] = by[1] or by[2], int(year[0])
    elif "club" in sentence:
        person, job = re.search(NAME, sentence), re.search(r"(?:as a|The|has a) (?!club)([a-z]+)\b", sentence)
        if person and job:
            facts.job[person[0]], facts.club[person[0]] = job[1], title
    elif "river" in sentence:
        town, river = re.search(r"town of (\w+)|of ([A-Z]\w+)\.$", sentence), re.search(r"river ([A-Z]\w+)", sentence)
        river = river or re.search(r"the ([A-Z]\w+) is the river", sentence)
        if town and river:
            facts.river[town[1] or town[2]] = river[1]


def solve(question: str, paragraphs: Iterable[Readable]) -> str | None:
    """The answer to a question from these paragraphs alone; None if they do not determine it."""
    facts = read(paragraphs)
    try:
        return _compared(question, facts) or _followed(question, facts)
    except LookupError:
        return None


def _followed(question: str, facts: Facts) -> str:
    """Follow a bridge: find the person meant, then the answer about them.  Raises LookupError for a missing fact."""
    person = _person(question, facts)
    if re.search(r"first name|^Which \w+ is from", question):
        return person.split()[0]
    if "river" in question:
        return facts.river[facts.town[person]]
    if re.search(r"profession of the|^As what", question):
        return facts.job[person]
    if re.search(r"\b(?:write|direct|compose) a\b", question):
        return str(facts.out[_only(work for work, maker in facts.maker.items() if maker == person)])
    if re.match(r"In which town|Where", question):
        return facts.town[person]
    return str(facts.born[person])


def _person(question: str, facts: Facts) -> str:
    """The one person that a question is about."""
    if named := re.search(rf"(?:where|town of) ({NAME})(?: was born)?\?", question):
        return named[1]
    if work := re.search(rf"(?:novel|film|song|wrote|directed|composed) ({NAME})", question):
        return facts.maker[work[1]]
    if job := re.search(r"the (\w+) (?:born )?(?:of|from|in) the (\w+ Club)", question):
        return _only(person for person, club in facts.club.items() if club == job[2] and facts.job[person] == job[1])
    if on_river := re.search(r"(\w+) (?:is )?from the town on the (\w+)", question):
        town = _only(town for town, river in facts.river.items() if river == on_river[2])
        return _of_family(facts, on_river[1], town)
    if from_town := re.search(r"the (\w+) (?:who was born in|from) (\w+)", question):
        return _of_family(facts, from_town[1], from_town[2])
    raise LookupError(question)


def _of_family(facts: Facts, last: str, town: str) -> str:
    return _only(person for person, place in facts.town.items() if place == town and person.split()[1] == last)


def _compared(question: str, facts: Facts) -> str | None:
    """The answer to a comparison; None if the question is not one."""
    names = re.findall(NAME, re.sub(r"^\w+ ", "", question))
    if len(names) != 2:
        return None
    one, two = names
    if "older" in question:
        return facts.town[min(names, key=facts.born.__getitem__)]
    if "profession" in question:
        return _yes(facts.job[one] == facts.job[two])
    if "town" in question:
        return _yes(facts.town[one] == facts.town[two])
    return _yes(facts.out[one] < facts.out[two])


def _yes(said: bool) -> str:
    return "yes" if said else "no"


def _only(found: Iterable[str]) -> str:
    """The only element.  Raises LookupError if there is none, or more than one."""
    every = list(found)
    if len(every) != 1:
        raise LookupError(f"{len(every)} fit")
    return every[0]
