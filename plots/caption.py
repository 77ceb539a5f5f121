"""The words of a figure: its title, and below it what was measured, on how much, and what is missing."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from retrieval_gap.tables.identity import TEST, Identity

from .kept import number_of, spread
from .results import Results
from .style import VIEWS, family_name, size_name

INTERVALS = "Error bars: 95 % Wilson interval."
SEED_INTERVALS = (
    "Values are means of the seeds; error bars span the lowest to the highest end of the seeds' 95 % Wilson intervals."
)
TEACHER_FORCED = "Published retrieval values: teacher-forced in the released code; ours execute every search."


class Measured(Protocol):
    """A row with its identity, and the hardware that it was measured on."""

    @property
    def identity(self) -> Identity: ...

    @property
    def hardware(self) -> str: ...


class Sampled(Measured, Protocol):
    """A row with the number of samples of its split."""

    @property
    def eval_samples(self) -> int: ...


def title(results: Results) -> str:
    """Those of task, graph family, problem size and model size that are the same in all panels."""
    one_n, one_size, one_family = (len(v) == 1 for v in (results.ns, results.sizes, results.families))
    return ", ".join(
        [
            "IsTree" + (f" on {family_name(results.families[0])}" if one_family else ""),
            *([f"{results.ns[0]} nodes"] if one_n else []),
            *([f"{size_name(results.sizes[0])} models"] if one_size else []),
        ]
    )


def caption(results: Results) -> str:
    """All that a reader needs to judge the numbers: how they were made, then how to read them."""
    return "\n".join(" ".join(filter(None, part)) for part in (_making(results), _reading(results)))


def left_out(what: Sequence[str]) -> str:
    """A sentence about what a table has and a figure does not show; "" if there is nothing."""
    return f"Not drawn: {', '.join(what)}." if what else ""


def held_out(rows: Iterable[Sampled], what: str = "held-out sample") -> str:
    """The number of samples that each row was measured on, and their split if it is not the test split."""
    rows = list(rows)
    return number_of({row.eval_samples for row in rows}, what) + of_split(rows)


def of_split(rows: Iterable[Measured]) -> str:
    """Such as ` of the validation split`; "" if all are of the test split."""
    splits = sorted({row.identity.split for row in rows})
    return "" if splits == [TEST] else f" of the {' and '.join(splits)} split{'s' if len(splits) > 1 else ''}"


def hardware(rows: Iterable[Measured]) -> str:
    """Names of the hardware (without line breaks inside a name)."""
    names = sorted({row.hardware.replace(" ", "\u00a0") for row in rows})
    return "; ".join(names) if len(names) <= 2 else f"{len(names)} machines, see the table"


def _making(results: Results) -> list[str]:
    embeddings = sorted({run.embedding for run in results.runs if run.embedding})
    return [
        f"Free decoding of {held_out(results.runs, 'evaluation sample')};",
        "an undecided answer counts 0.5.",
        f"Training samples: {_training_samples(results)}.",
        f"Seeds per cell: {spread(len(point.runs) for point in results.points.values())}.",
        f"Embedding: {' and '.join(embeddings)}." if embeddings else "",
        f"Hardware: {hardware(results.runs)}.",
    ]


def _reading(results: Results) -> list[str]:
    missing = results.grid_cells - len(results.points)
    dropped = sum(point.dropped for point in results.points.values())
    return [
        SEED_INTERVALS if results.several_seeds else INTERVALS,
        TEACHER_FORCED if any(cell.mode == "rag" for cell in results.published or ()) else "",
        f"{missing} of the grid's {results.grid_cells} cells are missing." if missing else "",
        f"{dropped} rows of shorter training are not drawn." if dropped else "",
        "Published values are missing." if results.published is None else "",
        left_out(results.left_out),
    ]


def _training_samples(results: Results) -> str:
    """One number (or range), or one for each view if they differ."""
    spans = {mode: spread(r.samples for r in results.runs if r.cell.mode == mode) for mode in results.modes}
    if len(set(spans.values())) == 1:
        return spans[results.modes[0]]
    return ", ".join(f"{VIEWS.get(mode, mode).lower()} {span}" for mode, span in spans.items())
