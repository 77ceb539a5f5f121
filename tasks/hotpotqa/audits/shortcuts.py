"""How well the questions about small worlds are answered by shortcuts, and how fast the questions are made.  Prints the
table of docs/hotpotqa.md.

    python -m retrieval_gap.tasks.hotpotqa.audits.shortcuts        # about half a minute on one core

A *guesser* is given the kind of thing that is asked for (a town, say) and some of the text.  It names the candidate of
that kind with the best *look*: its place among the candidates, how often it occurs, in how many paragraphs, whether its
sentence holds a name from the question, and that sentence's years.  How often each look is right is counted on
questions of `train`; guesses are made on `test`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from ..data.records import Paragraph, Question
from ..worlds.questions import world_question
from ..worlds.solver import solve
from ..worlds.words import NAMES, words_of

TRAINED, TESTED = 20_000, 5_000
NAME_KIND = {name: place for place, group in enumerate(NAMES) for name in group}
YES_OR_NO, YEAR = "yes or no", "year"

# What a guesser is given: a question's text, or "" for none, and paragraphs.
Seen = tuple[str, Sequence[Paragraph]]
Look = tuple[object, ...]


def gold(question: Question) -> list[Paragraph]:
    """The gold paragraphs in the order in which they are needed."""
    by_title = {paragraph.title: paragraph for paragraph in question.paragraphs}
    return [by_title[title] for title in question.gold_titles]


SEEN: dict[str, Callable[[Question], Seen]] = {
    "the question": lambda question: (question.question, ()),
    "the question, the first gold paragraph": lambda question: (question.question, gold(question)[:1]),
    "the question, the second gold paragraph": lambda question: (question.question, gold(question)[1:]),
    "both gold paragraphs": lambda question: ("", gold(question)),
    "the question, both gold paragraphs": lambda question: (question.question, gold(question)),
    "all ten paragraphs": lambda question: ("", question.paragraphs),
    "the question, all ten paragraphs": lambda question: (question.question, question.paragraphs),
}


def group_of(question: Question) -> str:
    """The column of a question."""
    if question.kind == "bridge":
        return "bridge"
    return "yes or no" if question.answer in ("yes", "no") else "older"


def kind_of(word: str) -> object:
    """What a word is a candidate for; None for a word that cannot be an answer."""
    if word in ("yes", "no"):
        return YES_OR_NO
    return YEAR if word.isdigit() else NAME_KIND.get(word)


def looks(seen: Seen, kind: object) -> dict[str, Look]:
    """The look of each candidate of a kind."""
    text, paragraphs = seen
    asked = {word for word in words_of(text) if word in NAME_KIND}
    frame = tuple(NAME_KIND.get(word, word) for word in words_of(text))
    where: dict[str, list[tuple[int, bool, tuple[int, ...]]]] = defaultdict(list)
    years: list[int] = []
    for place, paragraph in enumerate(paragraphs):
        for words in map(words_of, paragraph.sentences):
            told, shared = tuple(int(word) for word in words if word.isdigit()), len(asked.intersection(words))
            years += told if shared > 1 else ()
            for word in words:
                if kind_of(word) == kind:
                    where[word].append((place, shared > 1, tuple(year // 5 for year in told)))
    if kind == YES_OR_NO:
        return {word: (word, frame, tuple(year // 5 for year in years)) for word in ("yes", "no")}
    if not where:
        return {word: (word, frame) for word in (*NAME_KIND, *map(str, range(1900, 2000))) if kind_of(word) == kind}
    return {
        word: (
            rank if len(where) < 4 else 0,
            len(told),
            len({place for place, _, _ in told}),
            any(shared for _, shared, _ in told),
            told[0][2],
            frame[:3],
        )
        for rank, (word, told) in enumerate(where.items())
    }


def accuracy(
    see: Callable[[Question], Seen], trained: Iterable[Question], tested: Iterable[Question]
) -> dict[str, float]:
    """Share of right guesses by group of questions."""
    right: Counter[Look] = Counter()
    met: Counter[Look] = Counter()
    for question in trained:
        for word, look in looks(see(question), kind_of(question.answer)).items():
            met[look] += 1
            right[look] += word == question.answer
    hits: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for question in tested:
        candidates = looks(see(question), kind_of(question.answer))
        guess = max(candidates, key=lambda word: (right[candidates[word]] + 0.3) / (met[candidates[word]] + 1))
        asked[group_of(question)] += 1
        hits[group_of(question)] += guess == question.answer
    return {group: hits[group] / asked[group] for group in asked}


def main() -> None:
    groups = ("bridge", "older", "yes or no")
    trained = [world_question(0, "train", index) for index in range(TRAINED)]
    tested = [world_question(0, "test", index) for index in range(TESTED)]
    print(f"| what is read | {' | '.join(groups)} |\n|---|" + "---|" * len(groups))
    for name, see in SEEN.items():
        shares = accuracy(see, trained, tested)
        print(f"| {name} | " + " | ".join(f"{shares[group]:.3f}" for group in groups) + " |", flush=True)
    solved = Counter(
        group_of(question) for question in tested if solve(question.question, gold(question)) == question.answer
    )
    counts = Counter(map(group_of, tested))
    print(
        "| both gold paragraphs, by the oracle | " + " | ".join(f"{solved[g] / counts[g]:.3f}" for g in groups) + " |"
    )
    start = time.process_time()
    for index in range(TESTED):
        world_question(1, "train", index)
    print(f"\n{TESTED / (time.process_time() - start):,.0f} questions a second of one core")
    print("tested: " + ", ".join(f"{counts[group]:,} {group}" for group in groups))


if __name__ == "__main__":
    main()
