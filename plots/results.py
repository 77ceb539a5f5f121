"""Results tables as figures use them: runs grouped into the cells of a grid.

`retrieval_gap.tables` reads tables without torch, so that a figure is drawn in a second.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, get_args

from retrieval_gap.about import MeasuredState, StateKind, in_order, state_kind
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.identity import Identity, identity_of, longest
from retrieval_gap.tables.published import read_published
from retrieval_gap.tables.rows import PUBLISHED
from retrieval_gap.tables.rows import RESULTS as RESULTS
from retrieval_gap.tables.texts import make_it, read_rows
from retrieval_gap.tables.values import count_in, count_or_none, share_in
from retrieval_gap.tasks.api import Mode

from .kept import counted
from .seeds import Seeds

_CELL_COLUMNS = ("task", "family", "mode", "n", "arch", "size")
_RUN_COLUMNS = (
    "parameters",
    "samples",
    "seed",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "eval_samples",
    "hardware",
)
_MODES = get_args(Mode)
_SIZES = ("tiny", "0.5m", "1m", "2m")


class Model(NamedTuple):
    arch: str
    size: str


class Cell(NamedTuple):
    """A point of the grid; seeds and training settings are not part of it."""

    task: str
    family: str
    mode: str
    n: int
    arch: str
    size: str

    @property
    def model(self) -> Model:
        return Model(self.arch, self.size)


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One row: shares in [0, 1]; `low` to `high` is the 95 % Wilson interval of `accuracy`.

    embedding: "" if the table does not have it.  state_bits, bits_per_token: of the model's state, and what each token
    adds to it; None if the table does not have them.
    """

    cell: Cell
    identity: Identity
    seed: int
    parameters: int
    samples: int
    accuracy: float
    low: float
    high: float
    eval_samples: int
    hardware: str
    embedding: str = ""
    state_bits: int | None = None
    bits_per_token: int | None = None


@dataclass(frozen=True)
class Point(Seeds[ResultRow]):
    """What is drawn of a cell: the mean over its seeds, and the envelope of their intervals.

    One seed's envelope is its Wilson interval; several seeds' goes from the lowest end to the highest, so it
    shows the spread of seeds and is never narrower than what the evaluation samples allow.

    dropped: how many rows are left out because `runs` were trained for longer.
    """

    dropped: int = 0

    @property
    def seed_accuracies(self) -> list[float]:
        return [run.accuracy for run in self.runs]


@dataclass(frozen=True, kw_only=True)
class Results:
    """A table's points by cell; `published` holds the paper's accuracy of those cells that it has too, and is
    None if the table of published values is missing (it comes with a checkout).  left_out: what `only` has dropped,
    for a caption."""

    path: Path
    points: dict[Cell, Point]
    published: dict[Cell, float] | None
    left_out: tuple[str, ...] = ()

    def only(self, **wanted: str) -> "Results":
        """The part with these values, such as task="istree".  Raises UsageError if nothing is left."""
        cells = [c for c in self.points if all(getattr(c, key) == value for key, value in wanted.items())]
        if not cells:
            told = " ".join(f"{key}={value}" for key, value in wanted.items())
            raise UsageError(f"results table {self.path} has no row with {told}, so there is nothing to draw")
        return replace(
            self,
            points={c: self.points[c] for c in cells},
            left_out=(*self.left_out, *counted(_others(self.points, wanted), "cell")),
            published=None if self.published is None else {c: self.published[c] for c in cells if c in self.published},
        )

    def state_of(self, arch: str) -> StateKind:
        """Whether the state of this architecture's models has one size whatever the context."""
        seen = [(cell, run) for cell, point in self.points.items() if cell.arch == arch for run in point.runs]
        return state_kind(
            arch,
            [MeasuredState((*cell[:3], cell.size), cell.n, run.state_bits, run.bits_per_token) for cell, run in seen],
        )

    def published_of(self, cell: Cell) -> float | None:
        return (self.published or {}).get(cell)

    @property
    def runs(self) -> list[ResultRow]:
        return [run for point in self.points.values() for run in point.runs]

    @property
    def several_seeds(self) -> bool:
        return any(len(point.runs) > 1 for point in self.points.values())

    @property
    def families(self) -> list[str]:
        return list(dict.fromkeys(cell.family for cell in self.points))

    @property
    def modes(self) -> list[str]:
        return _ordered({cell.mode for cell in self.points}, _MODES)

    @property
    def ns(self) -> list[int]:
        return sorted({cell.n for cell in self.points})

    @property
    def architectures(self) -> list[str]:
        return in_order(cell.arch for cell in self.points)

    @property
    def sizes(self) -> list[str]:
        return _ordered({cell.size for cell in self.points}, _SIZES)

    @property
    def models(self) -> list[Model]:
        """Architecture by architecture, small to large."""
        seen = {cell.model for cell in self.points}
        every = (Model(arch, size) for arch in self.architectures for size in self.sizes)
        return [model for model in every if model in seen]

    @property
    def grid_cells(self) -> int:
        """Number of cells in the full grid of all values that the table has."""
        return len(self.families) * len(self.modes) * len(self.ns) * len(self.models)


def _others(cells: Iterable[Cell], wanted: dict[str, str]) -> Iterator[str]:
    """For each dropped cell the first column in which it differs, such as `task index`."""
    for cell in cells:
        key = next((key for key, value in wanted.items() if getattr(cell, key) != value), None)
        if key is not None:
            yield f"{key} {getattr(cell, key)}"


def _ordered(values: set[str], known: tuple[str, ...]) -> list[str]:
    """Known names in their order, then the others by name."""
    return sorted(values, key=lambda value: (known.index(value) if value in known else len(known), value))


def read_results(path: Path) -> Results:
    """Raises UsageError for a table that is absent, empty, lacks a column or holds an impossible value."""
    points = points_of(read_runs(path))
    return Results(path=path, points=points, published=published_of(points))


def read_runs(path: Path) -> list[ResultRow]:
    """Raises UsageError as `read_results` does."""
    rows = read_rows(path, (*_CELL_COLUMNS, *_RUN_COLUMNS))
    if not rows:
        raise UsageError(f"results table {path} is empty: no run has finished; {make_it()}")
    return [_run(where, row) for where, row in rows]


def points_of(runs: Iterable[ResultRow]) -> dict[Cell, Point]:
    """Raises UsageError if a cell's longest-trained runs differ in more than their seed."""
    by_cell: dict[Cell, list[ResultRow]] = defaultdict(list)
    for run in runs:
        by_cell[run.cell].append(run)
    return {cell: _point(runs) for cell, runs in by_cell.items()}


def published_of(points: dict[Cell, Point]) -> dict[Cell, float] | None:
    """The published accuracies of the same settings; None if the table of published values is missing."""
    if not PUBLISHED.exists():
        return None
    published = read_published()
    settings = {cell: point.runs[0].identity.setting for cell, point in points.items()}
    return {cell: published[setting].accuracy for cell, setting in settings.items() if setting in published}


def _point(runs: list[ResultRow]) -> Point:
    """The longest-trained runs of a cell."""
    kept = sorted(longest(runs, lambda run: run.samples), key=lambda run: run.seed)
    return Point(tuple(kept), dropped=len(runs) - len(kept))


def _cell(where: str, row: dict[str, str]) -> Cell:
    return Cell(row["task"], row["family"], row["mode"], count_in(where, row, "n"), row["arch"], row["size"])


def _run(where: str, row: dict[str, str]) -> ResultRow:
    return ResultRow(
        cell=_cell(where, row),
        identity=identity_of(where, row),
        seed=count_in(where, row, "seed"),
        parameters=count_in(where, row, "parameters"),
        samples=count_in(where, row, "samples"),
        accuracy=share_in(where, row, "accuracy"),
        low=share_in(where, row, "accuracy_low"),
        high=share_in(where, row, "accuracy_high"),
        eval_samples=count_in(where, row, "eval_samples"),
        hardware=row["hardware"],
        embedding=row.get("embedding", ""),
        state_bits=count_or_none(where, row, "state_bits"),
        bits_per_token=count_or_none(where, row, "state_bits_per_token"),
    )
