"""Compare two result tables cell by cell, or one table with the published values.

A difference is the first table's mean accuracy minus the other's.  Its 95 % interval:

* with two or more common seeds: Student's t of the differences per seed (other seeds are left out);
* otherwise, with two or more seeds on both sides: Welch's t of the two means;
* with one seed on a side: Newcombe's for two shares, which covers the evaluation samples, but not other seeds.

A published value is from one training.  Two or more of our seeds show how far one more training may be from their mean
(the prediction interval of Student's t); one seed does not.

All but Newcombe's are widened to Newcombe's of all their samples if that is wider: seeds that agree by chance must not
claim more than was measured.  Runs of one seed are tested on the same problems, which Newcombe's takes as independent:
that makes it too wide rather than too narrow.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.statistics.intervals import (
    Interval,
    newcombe_interval,
    paired_t_interval,
    prediction_interval,
    welch_interval,
)
from retrieval_gap.tables.filters import select
from retrieval_gap.tables.identity import TEST, Setting, check_seeds, identity_of, longest
from retrieval_gap.tables.printing import Cells, print_table
from retrieval_gap.tables.published import SAMPLES, Published, read_published
from retrieval_gap.tables.rows import Row, Sourced, make_room_for_table, merge, read_table, save_table

NOT_SHOWN = "no difference shown"
# Verdicts on a published value, defined in `against_published`.
REPRODUCED, UNDECIDED, NOT_REPRODUCED = "reproduced", "undecided", "not reproduced"
ONE_EACH = "differs, one training each"
NOT_RUN = "not run"
UNDECIDED_FROM = 0.1  # an interval that contains 0 but reaches further from it shows too little
_TEACHER_FORCED = "published rag values are teacher-forced in the released code; ours execute every search"


Runs = dict[int, Row]  # by seed


class Table(NamedTuple):
    """A table's runs by cell.  shorter: number of rows left out because their training was shorter."""

    cells: dict[Setting, Runs]
    shorter: int


class Difference(NamedTuple):
    """A difference, its interval, and the method of the interval (`by`)."""

    difference: float
    interval: Interval
    by: str


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One compared cell; unknown values are None.  samples, other_samples: that each side's models were trained on."""

    cell: Setting
    seeds: int = 0
    samples: int | None = None
    other_samples: int | None = None
    accuracy: float | None = None
    other: float | None = None
    estimate: Difference | None = None
    verdict: str

    def row(self) -> Row:
        """The comparison as a row of a table."""
        told: Row = {"difference": None, "low": None, "high": None, "interval": ""}
        if self.estimate is not None:
            difference, (low, high), by = self.estimate
            told = {"difference": difference, "low": low, "high": high, "interval": by}
        values = {key: value for key, value in asdict(self).items() if key not in ("cell", "estimate", "verdict")}
        return self.cell._asdict() | values | told | {"verdict": self.verdict}


def compare_tables(path: Path, other: Path | None, only: str, csv: Path | None) -> None:
    """Print the comparison of a table with another, or with the published values; also write it to `csv`.

    Raises UsageError for an invalid table, a cell of several settings, and tables without a common cell.
    """
    if csv is not None:
        make_room_for_table(csv, ("task", "difference"))
    rows = _chosen(path, only)
    if other is None:
        tested = [source for source in rows if identity_of(*source).split == TEST]
        if not tested:
            raise UsageError(f"{path} has no row of the test split, of which published values are")
        ours = runs_by_cell(tested)
        compared = against_published(ours.cells, read_published(only=only))
        _print_published(path, ours, compared, len(rows) - len(tested))
    else:
        ours, theirs = runs_by_cell(rows), runs_by_cell(_chosen(other, only))
        compared = pairs(ours.cells, theirs.cells)
        if not compared:
            raise UsageError(f"{path} and {other} have no cell in common; task, view, n, options, model and split pair")
        _print_pairs((path, other), (ours, theirs), compared)
    if csv is not None:
        told = [comparison.row() for comparison in compared]
        save_table(csv, list(told[0]), told)


def _chosen(path: Path, only: str) -> list[Sourced]:
    rows = select(read_table(path), only)
    if not rows:
        raise UsageError(f"no row of the table {path} matches --only {only!r}")
    return rows


def runs_by_cell(sources: Iterable[Sourced]) -> Table:
    """Return the longest-trained runs of each cell.

    Raises UsageError if they differ in a setting other than the seed, which the mean would hide.
    """
    by_cell: dict[Setting, list[Sourced]] = defaultdict(list)
    kept = merge(sources)
    for source in kept:
        by_cell[identity_of(*source).setting].append(source)
    cells = {cell: _longest(runs) for cell, runs in by_cell.items()}
    return Table(cells, len(kept) - sum(map(len, cells.values())))


def _longest(sources: Sequence[Sourced]) -> Runs:
    kept = longest(sources, lambda source: source.row["samples"] or 0)
    check_seeds((identity_of(*source) for source in kept), "choose with --only, such as --only lr=0.003")
    return {source.row["seed"]: source.row for source in sorted(kept, key=lambda source: source.row["seed"])}


def pairs(ours: Mapping[Setting, Runs], theirs: Mapping[Setting, Runs]) -> list[Comparison]:
    """Compare the cells that both tables have."""
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
        samples=_samples(ours),
        other_samples=_samples(theirs),
        accuracy=_mean(ours),
        other=_mean(theirs),
        estimate=estimate,
        verdict="higher" if low > 0 else "lower" if high < 0 else NOT_SHOWN,
    )


def estimate_of(ours: Runs, theirs: Runs) -> Difference:
    """The difference of two cells' mean accuracies; the module's docstring defines its interval."""
    newcombe = newcombe_interval(_mean(ours), _trials(ours), _mean(theirs), _trials(theirs))
    mine, others = ([row["accuracy"] for row in runs.values()] for runs in (ours, theirs))
    difference = _mean(ours) - _mean(theirs)
    if len(ours) > 1 and list(ours) == list(theirs):
        interval = paired_t_interval([a - b for a, b in zip(mine, others, strict=True)])
        return Difference(difference, interval.widened(newcombe).clipped(), f"paired t, {len(ours)} seeds")
    if len(ours) > 1 and len(theirs) > 1:
        interval = welch_interval(mine, others)
        return Difference(difference, interval.widened(newcombe).clipped(), f"Welch, {len(ours)} + {len(theirs)} seeds")
    return Difference(difference, newcombe, "Newcombe")


def against_published(ours: Mapping[Setting, Runs], published: Mapping[Setting, Published]) -> list[Comparison]:
    """Compare every published cell with our runs.

    If the interval of the difference, widened by the reading error, contains 0: reproduced, or undecided if it reaches
    further than `UNDECIDED_FROM` from 0.  Otherwise: not reproduced; with one seed, whose spread between trainings is
    unknown, only that the two trainings differ.
    """
    return [_reproduction(cell, ours.get(cell), value) for cell, value in published.items()]


def _reproduction(cell: Setting, runs: Runs | None, published: Published) -> Comparison:
    value, error = published
    if runs is None:
        return Comparison(cell=cell, other=value, verdict=NOT_RUN)
    interval, by = newcombe_interval(_mean(runs), _trials(runs), value, SAMPLES), "Newcombe"
    if len(runs) > 1:
        interval = prediction_interval([row["accuracy"] - value for row in runs.values()]).widened(interval)
        by = f"one more training, {len(runs)} seeds"
    interval = Interval(interval.low - error, interval.high + error).clipped()
    return Comparison(
        cell=cell,
        seeds=len(runs),
        samples=_samples(runs),
        accuracy=_mean(runs),
        other=value,
        estimate=Difference(_mean(runs) - value, interval, by),
        verdict=_verdict(interval, len(runs)),
    )


def _verdict(interval: Interval, seeds: int) -> str:
    if not interval.low <= 0 <= interval.high:
        return NOT_REPRODUCED if seeds > 1 else ONE_EACH
    return UNDECIDED if max(-interval.low, interval.high) > UNDECIDED_FROM else REPRODUCED


def verdict_counts(compared: Iterable[Comparison]) -> str:
    """The number of published cells with each verdict, as text."""
    count = Counter(comparison.verdict for comparison in compared)
    return "; ".join(f"{verdict}: {count[verdict]}" for verdict in (REPRODUCED, UNDECIDED, NOT_REPRODUCED, ONE_EACH))


def _mean(runs: Runs) -> float:
    return fmean(row["accuracy"] for row in runs.values())


def _samples(runs: Runs) -> int | None:
    samples: int | None = next(iter(runs.values()))["samples"]
    return samples


def _trials(runs: Runs) -> int:
    return sum(row["eval_samples"] for row in runs.values())


def _print_pairs(paths: tuple[Path, Path], tables: tuple[Table, Table], compared: Sequence[Comparison]) -> None:
    path, other = paths
    ours, theirs = (table.cells.keys() for table in tables)
    _print_table(compared, "other")
    counts = [f"{sum(c.verdict == verdict for c in compared)} {verdict}" for verdict in ("higher", "lower")]
    print(f"{len(compared)} cells in both: {', '.join(counts)} in {path} than in {other}, the others {NOT_SHOWN}")
    print(f"{len(ours - theirs)} cells only in {path}, {len(theirs - ours)} only in {other}")
    for name, table in zip(paths, tables, strict=True):
        _print_left_out(name, table.shorter, "shorter training")


def _print_published(path: Path, ours: Table, compared: Sequence[Comparison], untested: int) -> None:
    run = [comparison for comparison in compared if comparison.accuracy is not None]
    if run:
        _print_table(run, "published")
    print(
        f"{len(run)} of {len(compared)} published cells were run: {verdict_counts(run)}; "
        f"cells of {path} without a published counterpart: {len(ours.cells) - len(run)}"
    )
    _print_left_out(path, ours.shorter, "shorter training")
    _print_left_out(path, untested, "another split than test")
    for line in missing_lines(compared):
        print(f"not run: {line}")
    if any(comparison.cell.mode == "rag" for comparison in run):
        print(_TEACHER_FORCED)


def _print_left_out(path: Path, rows: int, what: str) -> None:
    if rows:
        print(f"left out of {path}: {rows} row{'s' if rows > 1 else ''} of {what}")


def missing_lines(compared: Iterable[Comparison]) -> list[str]:
    """The published cells that were not run, one line per view and model."""
    ns: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for comparison in compared:
        if comparison.verdict == NOT_RUN:
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
    split = "" if cell.eval_split == TEST else f"({cell.eval_split})"
    task = " ".join(filter(None, [cell.task, cell.family, cell.options, split]))
    trained = dict.fromkeys(f"{samples:,}" for samples in (comparison.samples, comparison.other_samples) if samples)
    told: list[Any] = [task, cell.mode, cell.n, f"{cell.arch} {cell.size}", comparison.seeds]
    told += [" / ".join(trained), *(f"{share:.3f}" for share in shares)]
    told += [
        f"{estimate.difference:+.3f}",
        f"{low:+.3f} to {high:+.3f}",
        estimate.by,
        comparison.verdict.replace(NOT_SHOWN, ""),
    ]
    return [str(word) for word in told]
