"""How far searches lead: the share of supporting sentences that can be found by a search that uses only the question
and the sentences found before it, by n.

    python -m retrieval_gap.tasks.hotpotqa.audits.reach hotpot_dev_distractor_v1.json [count]

For the first `count` questions (default 300) with ten paragraphs; without a file, for questions about small worlds.
A model that reads the question and the search results, but not the paragraphs, can find this share.
"""

import re
import sys
from collections.abc import Sequence

from ...api import TaskError
from ..data.records import Question, read_questions
from ..data.subsets import Shown, SubsetConfig, Subsets
from ..search import gold_search, unlike
from ..worlds.questions import world_question
from . import with_ten_paragraphs

HOPS = 2


def reached(shown: Shown) -> list[bool]:
    """For each supporting sentence, the easiest first, whether a search from what is known by then finds it."""
    lines, wanted = list[str](), list[int]()
    for paragraph in shown.paragraphs:
        for number, sentence in enumerate(paragraph.sentences):
            if (paragraph.title, number) in shown.question.supporting:
                wanted.append(len(lines))
            lines.append(f"{paragraph.title}: {sentence}")
    known, found = shown.question.question, list[bool]()
    while wanted and len(found) < HOPS:
        place = min(wanted, key=lambda place: unlike(known, lines, lines[place]))
        wanted.remove(place)
        search = gold_search(known, lines, place, (), lambda pattern: True)
        found.append(search.known and search.place == place)
        known += " " + lines[place]
    return found


def main(arguments: Sequence[str]) -> None:
    told = arguments[1] if len(arguments) > 1 else "300"
    if not re.fullmatch(r"[1-9][0-9]{0,8}", told):
        raise TaskError(f"count = {told!r} is not a whole number from 1 on")
    count = int(told)
    questions: Sequence[Question] = (
        read_questions(arguments[0]).kept if arguments else [world_question(0, "test", index) for index in range(count)]
    )
    whole = with_ten_paragraphs(questions)[:count]
    print(f"{len(whole)} questions with ten paragraphs\n\n| n | first sentence | second | both |\n|---|---|---|---|")
    for n in (2, 4, 6, 8, 10):
        subsets = Subsets(whole, SubsetConfig(n_paragraphs=n))
        both = [reached(subsets.shown(question)) for question in whole]
        shares = [sum(hops[0] for hops in both), sum(hops[1] for hops in both), sum(map(all, both))]
        print(f"| {n} | {' | '.join(f'{share / len(both):.3f}' for share in shares)} |")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except TaskError as error:
        sys.exit(str(error))
