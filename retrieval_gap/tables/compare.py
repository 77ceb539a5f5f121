"""Two result tables side by side, cell by cell; or one beside the published values.

Differences are the first table's mean accuracy less the other's.  Their 95 % intervals:

* seeds that both have, two or more: Student's t of the differences seed by seed (others are left out);
* other seeds, two or more on both sides: Welch's t of the two means;
* one seed on a side: Newcombe's for two shares, which knows of the evaluation samples alone, not of other seeds.

The first two are widened to Newcombe's of all their samples where that is wider, so that seeds which happen to agree do
not stand for more than was measured.  Runs of one seed are tested on the same problems, which Newcombe's takes for
independent ones: that makes it rather wide than narrow.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_room_for
from retrieval_gap.runs.filters import matches
from retrieval_gap.statistics.intervals import Interval, newcombe_interval, paired_t_interval, welch_interval
from retrieval_gap.tables.printing import Cells, print_table
from retrieval_gap.tables.rows import PUBLISHED, Row, Sourced, merge, read_table
from retrieval_gap.tables.rows import write_table as write_csv
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, share_in

PUBLISHED_SAMPLES = 5_000  # behind each published value, one model a cell; the paper, section 5
NOT_SHOWN = "no difference shown"
_TEACHER_FORCED = "published rag values are teacher-forced in the released code; ours execute every search"


class Setting(NamedTuple):
    """What two tables are paired by; seeds and training settings are not part of it."""

    task: str
    family: str
    mode: str
    n: int
    options: str
    arch: str
    size: str


Runs = dict[int, Row]  # one a seed


class Difference(NamedTuple):
    """A difference, its interval, and by what that was taken."""

    difference: float
    interval: Interval
    by: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One cell; what is not known is None."""

    cell: Setting
    seeds: int = 0
    samples: int | None = None
    accuracy: float | None = None
    other: float | None = None
    estimate: Difference | None = None
    verdict: str

    def row(self) -> Row:
        """As a row of a table."""
        told: Row = {"difference": None, "low": None, "high": None, "interval": ""}
        if self.estimate is not None:
            difference, (low, high), by = self.estimate
            told = {"difference": difference, "low": low, "high": high, "interval": by}
        values = {key: value for key, value in asdict(self).items() if key not in ("cell", "estimate", "verdict")}
        return self.cell._asdict() | values | told | {"verdict": self.verdict}


def compare_tables(path: Path, other: Path | None, only: str, csv: Path | None) -> None:
    """Prints the comparison of a table with another one, or with the published values; writes it to `csv`.

    Raises UsageError for a table that will not do, two rows of one seed in a cell, and tables without a common cell.
    """
    if csv is not None:
        make_room_for(csv)
    ours = runs_by_cell(read_table(path), only)
    if other is None:
        compared = against_published(ours, read_published(PUBLISHED, only))
        _print_published(path, ours, compared)
    else:
        theirs = runs_by_cell(read_table(other), only)
        compared = pairs(ours, theirs)
        if not compared:
            raise UsageError(f"{path} and {other} have no cell in common; task, view, n, options, model pair them")
        _print_pairs(path, other, compared, len(ours.keys() - theirs), len(theirs.keys() - ours))
    if csv is not None:
        rows = [comparison.row() for comparison in compared]
        write_csv(csv, list(rows[0]), rows)
        print(f"{len(rows)} rows written to {csv}")


def runs_by_cell(sources: Iterable[Sourced], only: str = "") -> dict[Setting, Runs]:
    """The longest-trained runs of each cell, by seed.

    Raises UsageError where a seed is there twice (they differ in a setting that the mean would hide), and where
    nothing is left.
    """
    by_cell: dict[Setting, list[Sourced]] = defaultdict(list)
    kept = [source for source in merge(sources) if matches(source.row, only)]
    if not kept:
        raise UsageError(f"no row of the table matches --only {only!r}")
    for source in kept:
        by_cell[Setting(*(source.row[key] for key in Setting._fields))].append(source)
    return {cell: _longest(runs) for cell, runs in by_cell.items()}


def _longest(runs: Sequence[Sourced]) -> Runs:
    most = max(source.row["samples"] or 0 for source in runs)
    kept: dict[int, Sourced] = {}
    for source in runs:
        if (source.row["samples"] or 0) == most:
            first = kept.setdefault(source.row["seed"], source)
            if first is not source:
                raise UsageError(
                    f"{first.where} and {source.where} are one cell and seed with other settings; "
                    "choose with --only, such as --only lr=0.003, or leave one out"
                )
    return {seed: source.row for seed, source in sorted(kept.items())}


def pairs(ours: Mapping[Setting, Runs], theirs: Mapping[Setting, Runs]) -> list[Comparison]:
    """The cells that both have."""
    return [_pair(cell, ours[cell], theirs[cell]) for cell in ours if cell in theirs]


def _pair(cell: Setting, ours: Runs, theirs: Runs) -> Comparison:
    common = [seed for seed in ours if seed in theirs]
    if len(common) > 1:
        ours, theirs = ({seed: runs[seed] for seed in common} for runs in (ours, theirs))
    estimate = estimate_of(ours, theirs)
    low, high = estimate.interval
    return Comparison(
        cell=cell,
        seeds=len(ours),
        samples=next(iter(ours.values()))["samples"],
        accuracy=_mean(ours),
        other=_mean(theirs),
        estimate=estimate,
        verdict="higher" if low > 0 else "lower" if high < 0 else NOT_SHOWN,
    )


def estimate_of(ours: Runs, theirs: Runs) -> Difference:
    """The difference of two cells' mean accuracies; the module tells which interval."""
    newcombe = newcombe_interval(_mean(ours), _trials(ours), _mean(theirs), _trials(theirs))
    mine, others = ([row["accuracy"] for row in runs.values()] for runs in (ours, theirs))
    difference = _mean(ours) - _mean(theirs)
    if len(ours) > 1 and list(ours) == list(theirs):
        interval = paired_t_interval([a - b for a, b in zip(mine, others, strict=True)])
        return Difference(difference, interval.widened(newcombe), f"paired t, {len(ours)} seeds")
    if len(ours) > 1 and len(theirs) > 1:
        interval = welch_interval(mine, others)
        return Difference(difference, interval.widened(newcombe), f"Welch, {len(ours)} + {len(theirs)} seeds")
    return Difference(difference, newcombe, "Newcombe")


def read_published(path: Path, only: str = "") -> dict[Setting, tuple[float, float]]:
    """Published accuracies and how far each may be off because it was read from a figure.

    Raises UsageError where the table is not at hand (it comes with a checkout) or will not do.
    """
    values = {}
    fields = [field for field in Setting._fields if field != "options"]
    for where, row in read_rows(path, (*fields, "accuracy", "reading_error")):
        n = count_in(where, row, "n")
        cell = Setting(row["task"], row["family"], row["mode"], n, "", row["arch"], row["size"])
        if all(matches({**cell._asdict(), "seed": "", "lr": ""}, part) for part in _cell_conditions(only)):
            values[cell] = share_in(where, row, "accuracy"), share_in(where, row, "reading_error")
    return values


def _cell_conditions(only: str) -> list[str]:
    """The conditions of a filter that are about cells; those about training settings choose among our runs."""
    return [part for part in only.split() if part.partition("=")[0] not in ("seed", "lr")]


def against_published(
    ours: Mapping[Setting, Runs], published: Mapping[Setting, tuple[float, float]]
) -> list[Comparison]:
    """Every published cell: reproduced where the interval of the difference, widened by the reading error, holds 0."""
    return [_reproduction(cell, ours.get(cell), *value) for cell, value in published.items()]


def _reproduction(cell: Setting, runs: Runs | None, value: float, error: float) -> Comparison:
    if runs is None:
        return Comparison(cell=cell, other=value, verdict="not run")
    interval = newcombe_interval(_mean(runs), _trials(runs), value, PUBLISHED_SAMPLES)
    by = "Newcombe"
    if len(runs) > 1:
        interval = paired_t_interval([row["accuracy"] - value for row in runs.values()]).widened(interval)
        by = f"t, {len(runs)} seeds"
    interval = Interval(interval.low - error, interval.high + error)
    held = interval.low <= 0 <= interval.high
    return Comparison(
        cell=cell,
        seeds=len(runs),
        samples=next(iter(runs.values()))["samples"],
        accuracy=_mean(runs),
        other=value,
        estimate=Difference(_mean(runs) - value, interval, by),
        verdict="reproduced" if held else "not reproduced",
    )


def _mean(runs: Runs) -> float:
    return fmean(row["accuracy"] for row in runs.values())


def _trials(runs: Runs) -> int:
    return sum(row["eval_samples"] for row in runs.values())


def _print_pairs(path: Path, other: Path, compared: Sequence[Comparison], ours: int, theirs: int) -> None:
    _print_table(compared, "other")
    counts = [f"{sum(c.verdict == verdict for c in compared)} {verdict}" for verdict in ("higher", "lower")]
    print(f"{len(compared)} cells in both: {', '.join(counts)} in {path} than in {other}, the others {NOT_SHOWN}")
    print(f"{ours} cells only in {path}, {theirs} only in {other}")


def _print_published(path: Path, ours: Mapping[Setting, Runs], compared: Sequence[Comparison]) -> None:
    run = [comparison for comparison in compared if comparison.accuracy is not None]
    if run:
        _print_table(run, "published")
    count = {verdict: sum(c.verdict == verdict for c in run) for verdict in ("reproduced", "not reproduced")}
    print(
        f"{len(run)} of {len(compared)} published cells were run: {count['reproduced']} "
        f"reproduced within the interval, {count['not reproduced']} not; "
        f"cells of {path} without a published counterpart: {len(ours) - len(run)}"
    )
    for line in missing_lines(compared):
        print(f"not run: {line}")
    if any(comparison.cell.mode == "rag" for comparison in run):
        print(_TEACHER_FORCED)


def missing_lines(compared: Iterable[Comparison]) -> list[str]:
    """The published cells that were not run, a line for each view and model."""
    ns: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for comparison in compared:
        if comparison.verdict == "not run":
            cell = comparison.cell
            ns[cell.task, cell.family, cell.mode, cell.arch, cell.size].append(cell.n)
    return [f"{' '.join(key)}: n = {', '.join(map(str, sorted(values)))}" for key, values in ns.items()]


def _print_table(compared: Sequence[Comparison], theirs: str) -> None:
    left = ("task", "view", "n", "model", "interval", "")
    columns = (*left[:4], "seeds", "trained on", "accuracy", theirs, "difference", "95 %", *left[4:])
    print_table(Cells(columns, [_words(comparison) for comparison in compared]), left=left)


def _words(comparison: Comparison) -> list[str]:
    cell, estimate = comparison.cell, comparison.estimate
    assert estimate is not None, "only cells of both sides are printed"
    (low, high), shares = estimate.interval, (comparison.accuracy or 0.0, comparison.other or 0.0)
    task = " ".join(filter(None, [cell.task, cell.family, cell.options]))
    told: list[Any] = [task, cell.mode, cell.n, f"{cell.arch} {cell.size}", comparison.seeds]
    told += ["" if comparison.samples is None else f"{comparison.samples:,}", *(f"{share:.3f}" for share in shares)]
    told += [
        f"{estimate.difference:+.3f}",
        f"{low:+.3f} to {high:+.3f}",
        estimate.by,
        comparison.verdict.replace(NOT_SHOWN, ""),
    ]
    return [str(word) for word in told]
