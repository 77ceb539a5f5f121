"""The project's figures, drawn from a page's data, as pictures inside the page."""

import base64
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.rows import write_rows
from retrieval_gap.tasks.api import TaskError

from .. import DEFAULT_TABLE, draw, figures
from ..results import RESULTS
from .sources import Gathered

PLOTS = __name__.rpartition(".report")[0]


class Drawn(NamedTuple):
    name: str
    table: str
    about: str
    picture: str  # a data: address


def drawn_figures(gathered: Gathered) -> list[Drawn]:
    """Every figure that can be drawn from the runs, from each table and, if no table is named, from its own table in
    results/."""
    with tempfile.TemporaryDirectory() as room:
        tables = {path: str(path) for path in gathered.tables} if not gathered.own_tables else {}
        runs = [entry.row for entry in gathered.entries if entry.run is not None]
        if runs:
            write_rows(Path(room) / "runs.csv", runs)
            tables[Path(room) / "runs.csv"] = "the runs"
        return [
            drawn
            for name in figures()
            for path, told in (tables | _own_table(name, gathered.own_tables)).items()
            if (drawn := _drawn(name, path, told, Path(room))) is not None
        ]


def _own_table(name: str, wanted: bool) -> dict[Path, str]:
    path: Path = getattr(import_module(f"{PLOTS}.{name}"), "DEFAULT_TABLE", DEFAULT_TABLE)
    return {path: str(path.relative_to(RESULTS.parent))} if wanted and path.exists() else {}


def _drawn(name: str, table: Path, told: str, room: Path) -> Drawn | None:
    """None for a figure that takes no table, or cannot use this one."""
    try:
        (picture,) = draw(name, table, room, ("svg",))
    except (UsageError, TaskError):
        return None
    about: Any = import_module(f"{PLOTS}.{name}").__doc__
    address = "data:image/svg+xml;base64," + base64.b64encode(picture.read_bytes()).decode()
    return Drawn(name, told, about.strip().partition("\n\n")[0].replace("\n", " "), address)
