"""Compares heads on the same test examples and seeds: with a matched control, and with themselves on shuffled input.

Two comparisons answer the question.  A head against the control that sees no order (attention pooling; for labels of
tokens a perceptron of each token): its gain does not come from the states one by one.  A head against itself on
shuffled states: its gain comes from their order.  A head whose model was fine-tuned with it is also compared with
the same head over the frozen model.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from retrieval_gap.experiments.heads.config import EXAMPLES, HeadsConfig
from retrieval_gap.machine.errors import RunError
from retrieval_gap.runs.directory import AGAIN, RunDirectory, read_json
from retrieval_gap.runs.experiment import Row, hash_of
from retrieval_gap.runs.known import KnownRun, read_each
from retrieval_gap.runs.user_files import kept_digest
from retrieval_gap.statistics.paired import holm_of_known
from retrieval_gap.statistics.ratios import Counts, score_difference, score_interval
from retrieval_gap.tables.printing import p_text

MATCHED = {"text": "attention", "choice": "attention", "tokens": "mlp"}
ROUNDING = 1e-9  # tolerance for sums of counts
PLACES = 10  # tenths of a text, for the place of the sentence that decides
SAME = (
    "dataset", "n", "label_kind", "metric", "model", "layer", "half", "copies", "tune_lr", "head", "control", "window",
)  # fmt: skip
# How heads were trained, and on what: equal for all heads that are compared.
SETTINGS = ("text_seed", "precision", "budget", "rates", "steps", "batch_size", "evaluate_every", "patience")
FLOORS = ("majority", "bag_of_words", "first_token")
TABLE_COLUMNS = (
    *SAME, *SETTINGS, "parameters", "seeds", "train_examples", "test_examples", "place",
    "score", "score_low", "score_high", *FLOORS,
    "versus", "difference", "difference_low", "difference_high", "detectable", "p", "p_holm",
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """All seeds of one head in one setting.  files: digests of the model's files, a public set and a user's head from
    the time of the run; the files may have changed or gone since."""

    config: HeadsConfig
    files: Mapping[str, str]
    rows: dict[int, Row]
    examples: dict[int, Mapping[str, Any]]

    @property
    def key(self) -> str:
        return self.key_of(self.config)

    def key_of(self, config: HeadsConfig) -> str:
        """The key of another configuration with this condition's model, texts and user's head."""
        return hash_of(replace(config, seed=0).hashed_values_with(**self.files))

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
        """Raises RunError if the two were not tested on the same examples."""
        if self._first["name"] != other._first["name"]:
            raise RunError(f"{self.config.label()} and {other.config.label()} were not tested on the same examples")


def conditions(known: Sequence[KnownRun]) -> tuple[dict[str, Condition], list[str]]:
    """The finished conditions by key, which leaves out the seed, and a line per unreadable or duplicate run."""
    found: dict[str, Condition] = {}
    _, troubles = read_each(known, HeadsConfig, partial(_add, found))
    return found, troubles


def _add(found: dict[str, Condition], known: KnownRun) -> None:
    (row,), config, run = known.rows(), known.experiment, known.run
    assert isinstance(config, HeadsConfig), "no other has got so far"
    examples = _read_examples(run, row)
    texts = [hash_of({name: examples[name] for name in ("name", "group", "place")})]
    texts += [kept_digest(run.path, config.data)]
    files = {"model_files": row["model_files"], "texts": " ".join(texts)}
    files["head_code"] = kept_digest(run.path, config.spec.name) if config.spec.is_file else ""
    condition = Condition(config, files, {config.seed: row}, {config.seed: examples})
    before = found.setdefault(condition.key, condition)
    if before is not condition and config.seed in before.rows:
        raise RunError(f"{run.result} is one of two runs of the same head, setting and seed; leave one of them out")
    before.rows[config.seed] = row
    before.examples[config.seed] = examples


def _read_examples(run: RunDirectory, row: Row) -> dict[str, Any]:
    path, told = run.path / EXAMPLES, read_json(run.path / EXAMPLES)
    names = ("name", "group", "place", "numerator", "denominator")
    if any(not isinstance(told.get(name), list) or len(told[name]) != row["test_examples"] for name in names):
        raise RunError(f"{path} does not have the run's {row['test_examples']} examples; {AGAIN}")
    pairs = list(zip(told["numerator"], told["denominator"], strict=True))
    if any(type(part) not in (int, float) for pair in pairs for part in pair) or any(not 0 <= a <= b for a, b in pairs):
        raise RunError(f"{path} holds an invalid count; {AGAIN}")
    whole = sum(above for above, _ in pairs) / (sum(below for _, below in pairs) or 1.0)
    if abs(whole - row["score"]) > ROUNDING:
        raise RunError(f"{path} gives a score of {whole:.6f}, and the run's result {row['score']:.6f}; {AGAIN}")
    return told


def table_rows(every: Mapping[str, Condition]) -> list[Row]:
    """A row for each condition and comparison, and for each tenth of the text if one sentence decides.

    p_holm is corrected for all comparisons of one kind in the table; p and p_holm are None for a single seed."""
    rows: list[Row] = []
    for condition in every.values():
        whole = _row(condition, condition.counts(condition.seeds), condition.groups)
        compared = [whole | _difference(condition, other, name) for name, other in _others(condition, every)]
        rows += compared or [whole]
        rows += _by_place(condition)
    _correct(rows)
    return sorted(
        rows, key=lambda row: tuple(str(row.get(name) or "") for name in (*SAME, *SETTINGS, "versus", "place"))
    )


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
        found = every.get(condition.key_of(other))
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
    low, high = score_interval(counts, groups)
    row = {name: first.get(name) for name in (*SAME, "parameters", "train_examples", *FLOORS)}
    row |= _settings(condition.config)
    row |= {"seeds": len(condition.seeds), "test_examples": len(groups), "place": "", "versus": ""}
    return row | {"score": counts.score, "score_low": low, "score_high": high}


def _settings(config: HeadsConfig) -> Row:
    told = {"budget": config.parameters, "rates": " ".join(f"{rate:g}" for rate in config.training.rates)}
    return {name: told.get(name) or getattr(config, name) for name in SETTINGS}


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
        for row, p in zip(compared, holm_of_known([row["p"] for row in compared]), strict=True):
            row["p_holm"] = p


def to_lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Format rows for printing, without those of places: score and difference with their intervals."""
    lines = []
    for row in rows:
        if row["place"] != "":
            continue
        line = {name: "" if row[name] is None else str(row[name]) for name in (*SAME, *SETTINGS)}
        del line["label_kind"]  # follows from the metric
        line |= {"seeds": str(row["seeds"]), "score": _ranged(row["score"], row["score_low"], row["score_high"])}
        line["floor"] = f"{max(row[name] or 0.0 for name in FLOORS):.3f}"
        if row["versus"]:
            line["versus"] = row["versus"]
            line["difference"] = _ranged(row["difference"], row["difference_low"], row["difference_high"], sign="+")
            line |= {"detectable": f"{row['detectable']:.3f}", "p (Holm)": p_text(row["p_holm"])}
        lines.append(line)
    return lines


def _ranged(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"
