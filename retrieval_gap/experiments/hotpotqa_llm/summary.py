"""The table of pretrained models on HotpotQA: every cell over all questions that it was asked, and over the paper's
selection, the questions that every compared model answers from the two gold paragraphs alone.

This selects on the outcome: at n = 2 the selected accuracy is 1 by construction, and at larger n it is above that of
all questions.  So the table always has both.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from retrieval_gap.experiments.hotpotqa_llm.answers import Done
from retrieval_gap.machine.errors import RunError
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tables.printing import cells_of, print_table
from retrieval_gap.tables.rows import Row

# The contract of results/hotpotqa_pretrained.csv.
COLUMNS = (
    "model", "method", "n_paragraphs", "order", "variant", "distractors", "questions", "selected",
    "exact_match", "low", "high", "f1", "undecided", "too_long", "gold_kept", "searches", "failed_searches",
    "tokens_read", "tokens_written", "max_tokens", "top_k", "seed", "data", "data_sha256", "exemplars", "backend",
    "precision", "hardware", "torch", "commit", "cell",
)  # fmt: skip


def table_rows(found: Sequence[Done]) -> tuple[list[Row], list[str]]:
    """Rows over all questions and over the selected ones, and lines of text about each selection.

    Selected rows of one method and variant are over the same questions: a question that one of these cells could not
    ask is left out of all.  Raises RunError for two files of one cell that were asked differently.
    """
    rows, told = [], []
    for questions in dict.fromkeys(done.questions for done in found):
        cells = sorted((done for done in found if done.questions == questions), key=_place)
        _check_once(cells)
        right, said = _right_at_two(cells)
        told.append(said)
        for done in cells:
            rows.append(row_of(done))
            chosen = right.intersection(*(other.asked() for other in cells if other.curve == done.curve))
            if chosen:
                rows.append(_row(done, chosen, selected=True))
    return rows, told


def print_rows(rows: Iterable[Row]) -> None:
    print_table(cells_of([_shown(row) for row in rows]), left=("model", "method", "order", "variant", "selected"))


def _shown(row: Row) -> dict[str, str]:
    known = bool(row["questions"])
    return {
        "model": row["model"],
        "method": row["method"],
        "n": str(row["n_paragraphs"]),
        "order": row["order"],
        "variant": row["variant"],
        "selected": "yes" if row["selected"] else "no",
        "questions": str(row["questions"]),
        "exact match": f"{row['exact_match']:.4f}" if known else "",
        "95 %": f"{row['low']:.3f} to {row['high']:.3f}" if known else "",
        "F1": f"{row['f1']:.4f}" if known else "",
        "undecided": str(row["undecided"]),
        "too long": str(row["too_long"]),
    }


def _right_at_two(cells: Sequence[Done]) -> tuple[set[str], str]:
    """The questions that all models answer from the gold paragraphs alone, and a line: how many of how many, or why
    there is no selection."""
    models = list(dict.fromkeys(done.cell["model"] for done in cells))
    of = f"of {len(set[str]().union(*(done.answers.keys() for done in cells)))} questions"
    for model in models:
        if not any(done.selects for done in cells if done.cell["model"] == model):
            return set(), f"no selection {of}: {model} has no answers by cot at n = 2 (variant plain)"
    right = set.intersection(*(done.right() for done in cells if done.selects))
    return right, f"selected {len(right)} {of}: all of {', '.join(models)} answer these by cot at n = 2"


def row_of(done: Done) -> Row:
    """The row over all questions that were asked."""
    return _row(done, done.asked(), selected=False)


def _row(done: Done, chosen: Iterable[str], *, selected: bool) -> Row:
    answers = [done.answers[name] for name in sorted(chosen)]
    exact = _mean(answers, "exact_match")
    low, high = wilson_interval(exact, len(answers)) if answers else (0.0, 1.0)
    cell, subset = done.cell, done.subset
    return {
        "model": cell["model"], "method": cell["method"], **subset, "questions": len(answers),
        "selected": int(selected), "exact_match": exact, "low": low, "high": high, "f1": _mean(answers, "f1"),
        "undecided": sum(not answer["predicted"] for answer in answers), "too_long": len(done.too_long()),
        "gold_kept": _mean(answers, "gold_kept") / 2, "searches": _mean(answers, "searches"),
        "failed_searches": _mean(answers, "failed_searches"),
        "tokens_read": sum(answer["read"] for answer in answers),
        "tokens_written": sum(answer["written"] for answer in answers),
        "max_tokens": cell["ask"]["max_tokens"], "top_k": cell["ask"]["top_k"] if cell["method"] == "bm25" else "",
        "data": done.head["data"], "data_sha256": cell["data"], "exemplars": cell["exemplars"],
        "backend": cell["backend"]["backend"], "precision": cell["backend"].get("precision", ""),
        "hardware": done.head["hardware"], "torch": done.head["torch"], "commit": done.head["commit"],
        "cell": done.name,
    }  # fmt: skip


def _mean(answers: Sequence[Mapping[str, Any]], what: str) -> float:
    return sum(float(answer[what]) for answer in answers) / len(answers) if answers else 0.0


def _check_once(cells: Sequence[Done]) -> None:
    for before, after in itertools.pairwise(cells):
        if _place(before) == _place(after):
            raise RunError(
                f"{before.path} and {after.path} are the same cell, asked differently (--max-tokens, the backend, the "
                "weights); move one away, or give one another --name"
            )


def _place(done: Done) -> tuple[Any, ...]:
    subset = done.subset
    return (
        done.cell["model"], done.cell["method"], subset["variant"], subset["distractors"], subset["order"],
        subset["n_paragraphs"],
    )  # fmt: skip
