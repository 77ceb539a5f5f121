"""Heads compared: on the same test examples and seeds, with the matched control and with themselves out of order.

Two comparisons answer the question.  A head with the control that sees no order (attention pooling; for labels of
tokens a perceptron of each token): what is left above it is not had from the states one by one.  A head with itself on
shuffled states: what is left above that is had from their order.  A head whose model was trained along with it is also
set beside the same head over the frozen model.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retrieval_gap.experiments.heads.config import EXAMPLES, HeadsConfig
from retrieval_gap.machine.errors import RunError
from retrieval_gap.runs.directory import AGAIN, RunDirectory, read_json
from retrieval_gap.runs.experiment import Row
from retrieval_gap.runs.known import KnownRun
from retrieval_gap.statistics.intervals import Interval
from retrieval_gap.statistics.paired import holm
from retrieval_gap.statistics.ratios import Counts, score_difference, score_interval

MATCHED = {"text": "attention", "choice": "attention", "tokens": "mlp"}
PLACES = 10  # tenths of a text, for the place of the sentence that decides
SAME = (
    "dataset", "n", "label_kind", "metric", "model", "layer", "half", "copies", "tune_lr", "head", "control", "window",
)  # fmt: skip
FLOORS = ("majority", "bag_of_words", "first_token")
TABLE_COLUMNS = (
    *SAME, "parameters", "seeds", "train_examples", "test_examples", "place", "score", "score_low", "score_high",
    *FLOORS, "versus", "difference", "difference_low", "difference_high", "detectable", "p", "p_holm",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """All seeds of one head in one setting."""

    config: HeadsConfig
    rows: Mapping[int, Row]
    examples: Mapping[int, Mapping[str, Any]]

    @property
    def seeds(self) -> list[int]:
        return sorted(self.rows)

    @property
    def groups(self) -> list[str]:
        return list(self._first["group"])

    @property
    def places(self) -> list[float | None]:
        return list(self._first["place"])

    @property
    def _first(self) -> Mapping[str, Any]:
        return self.examples[self.seeds[0]]

    def counts(self, seeds: Sequence[int]) -> Counts:
        parts = ("numerator", "denominator")
        return Counts(*(np.array([self.examples[s][part] for s in seeds], np.float64) for part in parts))

    def check(self, other: "Condition") -> None:
        """Raises RunError where the two were not tested on the same examples."""
        if self._first["name"] != other._first["name"]:
            raise RunError(f"{self.config.label()} and {other.config.label()} were not tested on the same examples")


def conditions(known: Sequence[KnownRun]) -> dict[str, Condition]:
    """What is done, by what it is without its seed.  Raises RunError for a run that cannot be read."""
    found: dict[str, Condition] = {}
    for each in known:
        if not isinstance(each.experiment, HeadsConfig) or each.run.status() != "done":
            continue
        config, (row,) = each.experiment, each.rows()
        key = _key(config)
        before = found.get(key, Condition(config, {}, {}))
        examples = _read_examples(each.run, row)
        found[key] = Condition(config, {**before.rows, config.seed: row}, {**before.examples, config.seed: examples})
    return found


def _key(config: HeadsConfig) -> str:
    return replace(config, seed=0).hash()


def _read_examples(run: RunDirectory, row: Row) -> dict[str, Any]:
    told = read_json(run.path / EXAMPLES)
    names = ("name", "group", "place", "numerator", "denominator")
    if any(not isinstance(told.get(name), list) or len(told[name]) != row["test_examples"] for name in names):
        raise RunError(f"{run.path / EXAMPLES} does not have the run's {row['test_examples']} examples; {AGAIN}")
    return told


def table_rows(known: Sequence[KnownRun]) -> list[Row]:
    """A row for each condition and comparison, and for each tenth of the text where a sentence decides.

    p_holm is corrected for all comparisons of one kind in the table."""
    every = conditions(known)
    rows: list[Row] = []
    for condition in every.values():
        whole = _row(condition, condition.counts(condition.seeds), condition.groups)
        compared = [whole | _difference(condition, other, name) for name, other in _others(condition, every)]
        rows += compared or [whole]
        rows += _by_place(condition)
    _correct(rows)
    return sorted(rows, key=lambda row: tuple(str(row.get(name) or "") for name in (*SAME, "versus", "place")))


def _others(condition: Condition, every: Mapping[str, Condition]) -> Iterator[tuple[str, Condition]]:
    config = condition.config
    control = MATCHED[str(next(iter(condition.rows.values()))["label_kind"])]
    wanted = {f"head {control}": replace(config, head=control)}
    if config.control == "none":
        wanted["shuffled states"] = replace(config, control="shuffle_states")
        wanted["shuffled words"] = replace(config, control="shuffle_words")
    if config.tune:
        wanted["frozen model"] = replace(config, tune=False)
    for name, other in wanted.items():
        found = every.get(_key(other))
        if found is not None and found is not condition and set(found.rows) & set(condition.rows):
            yield name, found


def _difference(condition: Condition, other: Condition, versus: str) -> Row:
    condition.check(other)
    seeds = sorted(set(condition.rows) & set(other.rows))
    found = score_difference(condition.counts(seeds), other.counts(seeds), condition.groups)
    return {
        "versus": versus,
        "difference": found.value,
        "difference_low": found.interval.low,
        "difference_high": found.interval.high,
        "detectable": found.detectable,
        "p": found.p,
    }


def _row(condition: Condition, counts: Counts, groups: Sequence[str]) -> Row:
    first = condition.rows[condition.seeds[0]]
    low, high = score_interval(counts, groups) if len(set(groups)) > 1 else Interval(0.0, 1.0)
    row = {name: first.get(name) for name in (*SAME, "parameters", "train_examples", *FLOORS)}
    row |= {"seeds": len(condition.seeds), "test_examples": len(groups), "place": "", "versus": ""}
    return row | {"score": counts.score, "score_low": low, "score_high": high}


def _by_place(condition: Condition) -> Iterator[Row]:
    tenths: dict[int, list[int]] = defaultdict(list)
    for number, place in enumerate(condition.places):
        if place is not None:
            tenths[min(PLACES - 1, int(PLACES * place))].append(number)
    counts = condition.counts(condition.seeds)
    for tenth, numbers in sorted(tenths.items()):
        some = Counts(*(part[:, numbers] for part in counts))
        row = _row(condition, some, [condition.groups[number] for number in numbers])
        yield row | {"place": tenth}


def _correct(rows: Sequence[Row]) -> None:
    """Adds Holm's correction, over the comparisons of each kind."""
    for versus in {row["versus"] for row in rows if row["versus"]}:
        compared = [row for row in rows if row["versus"] == versus]
        for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
            row["p_holm"] = p


def to_lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The rows for people, without those of places: score and difference with their intervals."""
    lines = []
    for row in rows:
        if row["place"] != "":
            continue
        line = {name: "" if row[name] is None else str(row[name]) for name in SAME}
        line |= {"seeds": str(row["seeds"]), "score": _ranged(row["score"], row["score_low"], row["score_high"])}
        line["floor"] = f"{max(row[name] or 0.0 for name in FLOORS):.3f}"
        if row["versus"]:
            line["versus"] = row["versus"]
            line["difference"] = _ranged(row["difference"], row["difference_low"], row["difference_high"], sign="+")
            line |= {"detectable": f"{row['detectable']:.3f}", "p (Holm)": f"{row['p_holm']:.3f}"}
        lines.append(line)
    return lines


def _ranged(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
