"""A page's section on published values: which cells are reproduced, which not, which were not run."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.compare import against_published, missing_lines, read_published, runs_by_cell
from retrieval_gap.tables.rows import PUBLISHED, Sourced

from .sources import Entry


def published_section(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """None where there is nothing to compare with, or no row of a published task.  `trouble` instead of cells where
    the rows cannot be compared."""
    if not PUBLISHED.exists():
        return None
    published = read_published(PUBLISHED)
    tasks = {(cell.task, cell.family) for cell in published}
    tested: dict[str, Sourced] = {}
    for entry in entries:
        if entry.row["eval_split"] == "test" and (entry.row["task"], entry.row["family"]) in tasks:
            tested.setdefault(entry.row["config_hash"], Sourced(entry.where, entry.row))
    if not tested:
        return None
    try:
        compared = against_published(runs_by_cell(tested.values()), published)
    except UsageError as error:
        return {"trouble": str(error), "run": [], "missing": [], "counts": {}, "every": len(published)}
    run = [comparison for comparison in compared if comparison.accuracy is not None]
    return {
        "trouble": "",
        "run": run,
        "missing": missing_lines(compared),
        "counts": Counter(comparison.verdict for comparison in compared),
        "every": len(published),
    }
