"""Compares methods on the same steps of the same streams: paired differences, their intervals, and tests."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from retrieval_gap.experiments.memories.finished import Finished
from retrieval_gap.experiments.memories.rows import COLUMNS, REASONS, REFUSED, score_bounds
from retrieval_gap.llm.config import Price
from retrieval_gap.machine.errors import unknown
from retrieval_gap.machine.printing import print_safely
from retrieval_gap.runs.experiment import Row
from retrieval_gap.statistics.paired import holm_of_known, mcnemar_exact, paired_difference
from retrieval_gap.tables.printing import Cells, p_text, print_table
from retrieval_gap.text_memory.settings import FLOORS, METHODS

# Columns that a comparison adds.  against: the method compared with, of the same model on the same streams.
# p: of no difference, over streams; holm_p: corrected for all methods of one model on one set of streams.  Both are
# empty if the streams do not give them, such as a single stream.  mcnemar_step_p takes each step as independent of the
# others, which steps of one stream are not: it is about these steps, and says nothing about other streams.
# changed: share of predictions that differ from those without an update.  score_sd: standard deviation over seeds, for
# runs of several seeds pooled as one.
PAIRED = (
    "against", "difference", "difference_low", "difference_high", "paired", "p", "holm_p", "only_this_right",
    "only_other_right", "mcnemar_step_p", "changed", "dollars", "score_sd",
)  # fmt: skip
TABLE_COLUMNS = (*COLUMNS, *PAIRED)
# The headings of the printed table.
WORDS = ("benchmark", "target", "model", "method", "settings")
NUMBERS = (
    "budget", "n", "unread", "score", "95 %", "after wrong", "difference", "95 % ", "p (Holm)", "changed", "calls",
    "tokens", "seconds",
)  # fmt: skip

# Settings that are printed if the rows of a benchmark differ in them.
TOLD_WHERE_THEY_DIFFER = ("options", "streams", "steps", "k", "temperature", "draw", "thinking", "judge")


def compared_rows(found: Sequence[Finished], against: str, price: Price) -> list[Row]:
    """All rows; those of whole runs have their paired differences to the method `against`, if it was run on the
    same streams with the same model or is a floor.  Raises UsageError for an unknown method."""
    if against not in (*METHODS, *FLOORS):
        raise unknown("method", against, (*METHODS, *FLOORS))
    extra: dict[int, Row] = {place: {} for place in range(len(found))}
    tests: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, run in enumerate(found):
        extra[place] |= {"dollars": price.of(run.whole["read"], run.whole["written"])} if _priced(run, price) else {}
        still = _other(run, found, "no_update")
        if still is not None and run.cell.method == "llm_as_rnn":
            extra[place]["changed"] = _changed(run, still)
        other = _other(run, found, against)
        if other is None or other is run:
            continue
        extra[place] |= {"against": against} | _paired(run, other)
        if not run.cell.is_floor:
            tests[(*run.streams, run.asked_and_true, *run.asked)].append(place)
    for places in tests.values():
        for place, p in zip(places, holm_of_known([extra[place].get("p") for place in places]), strict=True):
            extra[place]["holm_p"] = p
    return [row | (extra[place] if row is run.whole else {}) for place, run in enumerate(found) for row in run.rows]


def print_compared(rows: Sequence[Row]) -> None:
    """Print a line per run, and below a line per run in which something was not used.  Dollars only with a price."""
    wholes = [row for row in rows if row["part"] == "all"]
    priced = any(row.get("dollars") is not None for row in wholes)
    lines = [
        [*_words(row, more), *([_dollars(row.get("dollars"))] if priced else [])]
        for row, more in zip(wholes, _differing(wholes), strict=True)
    ]
    print_table(Cells((*WORDS, *NUMBERS, *(["dollars"] if priced else [])), lines), left=WORDS)
    for line in dict.fromkeys(filter(None, map(_overlap, wholes))):
        print_safely(line)
    for row in wholes:
        if told := _not_used(row):
            print_safely(f"{row['benchmark']} {row['method']}, {row['model']}: {told}")


def _overlap(row: Row) -> str:
    """A line about streams that share steps; "" if they share none."""
    streams, independent = row["streams"], row.get("independent_streams") or row["streams"]
    if streams == independent:
        return ""
    told = f"{streams} streams share steps: intervals and p take them as {independent}"
    return f"{row['benchmark']}, seed {row['seed']}: {told}"


def _not_used(row: Row) -> str:
    """Which of a run's answers, judgements and new memories were not used; "" if all were."""
    refused = {reason: row.get(f"updates_{reason.replace(' ', '_')}") or 0 for reason in REFUSED}
    updates = sum(row.get(f"updates_{reason.replace(' ', '_')}") or 0 for reason in REASONS)
    why = ", ".join(f"{count} {reason}" for reason, count in refused.items() if count)
    told = [
        f"{row['answers_cut']} answers were cut at the limit of a reply" if row.get("answers_cut") else "",
        f"{row['judge_unreadable']} judgements could not be read" if row.get("judge_unreadable") else "",
        f"{sum(refused.values())} of {updates} new memories were refused ({why})" if why else "",
    ]
    return "; ".join(filter(None, told))


def _differing(wholes: Sequence[Row]) -> list[list[str]]:
    """For each row, the settings in which the rows of its benchmark differ.  A row without a setting, such as k for
    zero-shot, differs from no other in it; but having no thinking or no judge is a setting too."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in wholes:
        for name in TOLD_WHERE_THEY_DIFFER:
            value = row.get(name)
            if value not in (None, "") or name in ("thinking", "judge"):
                values[row["benchmark"], name].add(str(value or ""))
    return [
        [
            f"{name} {row[name]}"
            for name in TOLD_WHERE_THEY_DIFFER
            if row.get(name) not in (None, "") and len(values[row["benchmark"], name]) > 1
        ]
        for row in wholes
    ]


def _words(row: Row, more: Sequence[str]) -> list[str]:
    settings = [str(row[name]) for name in ("feedback", "update", "answer") if row.get(name)]
    for name in ("gate", "system_as", "tokenizer"):
        settings += [f"{name.replace('_', ' ')} {row[name]}"] if row.get(name) else []
    settings += [*more, f"seeds {row['seed']}" if isinstance(row["seed"], str) else f"seed {row['seed']}"]
    return [
        row["benchmark"], row["target"], row["model"] or "-", row["method"], " ".join(settings),
        str(row.get("budget", "")), str(row["predictions"]), str(row["unreadable"]), _number(row.get("score")),
        _interval(row, "score"), _number(row.get("right_after_wrong")), _number(row.get("difference"), "+"),
        _interval(row, "difference", "+"), p_text(row.get("holm_p")), _number(row.get("changed")), f"{row['calls']:,}",
        f"{row['read'] + row['written']:,}", f"{row['wall_s']:,.1f}",
    ]  # fmt: skip


def _interval(row: Row, name: str, sign: str = "") -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.3f}"


def _dollars(value: float | None) -> str:
    """Two decimals from a dollar on, below it two significant digits."""
    return "" if value is None else f"{value:,.2f}" if value >= 1 else f"{value:.2g}"


def _priced(run: Finished, price: Price) -> bool:
    return not run.cell.is_floor and price != Price()


def _other(run: Finished, found: Sequence[Finished], method: str) -> Finished | None:
    """The run of `method` on the same streams, a floor or of the same model; of several, the one whose settings are
    nearest."""
    same = [
        each
        for each in found
        if each.cell.method == method and each.has_steps_of(run) and (each.cell.is_floor or each.asked == run.asked)
    ]
    own = run.cell.relevant()
    alike = [sum(own.get(name) == value for name, value in each.cell.relevant().items()) for each in same]
    return same[alike.index(max(alike))] if same else None


def _paired(run: Finished, other: Finished) -> Row:
    """Over the steps that both have a score for; McNemar's test over those that are right or wrong in both."""
    both = [place for place in run.steps if run.steps[place]["asked"] and place in other.steps]
    scored = [p for p in both if run.steps[p]["value"] is not None and other.steps[p]["value"] is not None]
    row: Row = {"paired": len(scored)}
    if scored:
        ours, theirs = ([each.steps[place]["value"] for place in scored] for each in (run, other))
        low, high = score_bounds(run.steps[scored[0]]["measures"])
        groups = [run.groups[stream] for stream, _ in scored]
        found = paired_difference(ours, theirs, groups, low=low - high, high=high - low)
        row |= {"difference": found.mean, "p": found.p}
        if found.interval is not None:
            row |= {"difference_low": found.interval.low, "difference_high": found.interval.high}
    judged = [p for p in both if run.steps[p]["right"] is not None and other.steps[p]["right"] is not None]
    if judged:
        test = mcnemar_exact(*[[bool(each.steps[place]["right"]) for place in judged] for each in (run, other)])
        row |= {"only_this_right": test.first_only, "only_other_right": test.second_only, "mcnemar_step_p": test.p}
    return row


def _changed(run: Finished, still: Finished) -> float | None:
    asked = [place for place, step in run.steps.items() if step["asked"] and place in still.steps]
    differ = sum(_said(run, place) != _said(still, place) for place in asked)
    return differ / len(asked) if asked else None


def _said(run: Finished, place: tuple[int, int]) -> str:
    return json.dumps(run.steps[place]["predicted"])
