"""How long the paragraphs shown are, and how far the gold ones are from the question, by n and variant.

    python -m retrieval_gap.tasks.hotpotqa.audits.lengths hotpot_dev_distractor_v1.json [random|last|first]

Without a file, for 500 questions about small worlds.
"""

import sys
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import get_args

from ...api import TaskError
from ..data.records import Question, read_questions
from ..data.subsets import Shown, SubsetConfig, Subsets, Variant, shown_tokens
from ..worlds.questions import world_question
from . import with_ten_paragraphs


def distances(shown: Shown) -> Iterator[int]:
    """Words between each gold paragraph and the question."""
    for place, paragraph in enumerate(shown.paragraphs):
        if paragraph.gold:
            yield shown_tokens(shown.paragraphs[place + 1 :])


def lengths(questions: Sequence[Question], config: SubsetConfig) -> tuple[float, float, float]:
    """Means over questions: paragraphs with a title, all words, words after a gold paragraph."""
    subsets = Subsets(questions, config)
    every = [subsets.shown(question) for question in questions]
    candidates = mean(sum(bool(paragraph.title) for paragraph in shown.paragraphs) for shown in every)
    words = mean(shown_tokens(shown.paragraphs) for shown in every)
    return candidates, words, mean(distance for shown in every for distance in distances(shown))


def main(arguments: Sequence[str]) -> None:
    questions = (
        read_questions(arguments[0]).kept
        if arguments
        else tuple(world_question(0, "test", index) for index in range(500))
    )
    order = arguments[1] if len(arguments) > 1 else "random"
    whole = with_ten_paragraphs(questions, order)
    print(f"{len(whole)} questions with ten paragraphs, order {order}\n")
    print("| n | variant | candidates | words | words behind a gold paragraph |\n|---|---|---|---|---|")
    for n in (2, 4, 6, 8, 10):
        for variant in get_args(Variant):
            candidates, words, behind = lengths(whole, SubsetConfig(n_paragraphs=n, order=order, variant=variant))
            print(f"| {n} | {variant} | {candidates:.0f} | {words:.0f} | {behind:.0f} |")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except TaskError as error:
        sys.exit(str(error))
