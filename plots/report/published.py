"""A page's section on published values: which cells are reproduced, which are not, which were not run."""

from collections.abc import Sequence
from typing import Any

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.compare import (
    ONE_EACH,
    REPRODUCED,
    UNDECIDED,
    UNDECIDED_FROM,
    against_published,
    missing_lines,
    runs_by_cell,
    verdict_counts,
)
from retrieval_gap.tables.identity import identity_of
from retrieval_gap.tables.published import read_published
from retrieval_gap.tables.rows import PUBLISHED, Sourced

from .sources import Entry


def published_section(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """None if there are no published values, or no row of a published task.  `trouble` instead of cells if the rows
    cannot be compared."""
    if not PUBLISHED.exists():
        return None
    published = read_published()
    tasks = {(cell.task, cell.family) for cell in published}
    if not any((entry.row["task"], entry.row["family"]) in tasks for entry in entries):
        return None
    ours: dict[str, Sourced] = {}
    for entry in entries:
        if identity_of(entry.where, entry.row).setting in published:
            ours.setdefault(entry.row["config_hash"], Sourced(entry.where, entry.row))
    try:
        compared = against_published(runs_by_cell(ours.values()).cells, published)
    except UsageError as error:
        return {"trouble": str(error)}
    run = [comparison for comparison in compared if comparison.accuracy is not None]
    return {
        "trouble": "",
        "run": run,
        "missing": missing_lines(compared),
        "told": verdict_counts(run),
        "not_run": len(compared) - len(run),
        "classes": {REPRODUCED: "right", UNDECIDED: "soft", ONE_EACH: "soft"},
        "further": UNDECIDED_FROM,
    }
