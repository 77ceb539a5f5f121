"""`retrieval-gap results`, `compare` and `report`: results as tables, compared cell by cell, and as a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from retrieval_gap.commands.flags import Only

RunsDirs = Annotated[tuple[Path, ...], arg(metavar="DIR...", help="one or more folders of run directories")]
Tables = Annotated[tuple[Path, ...], arg(metavar="FILE...", help="result tables (CSV, or .parquet) to merge with them")]


@dataclass(frozen=True, kw_only=True)
class ResultsCommand:
    """Show the runs in one or more folders: done, running, partial or failed, and with a preset also the missing ones.
    Rows of the same configuration are merged."""

    preset: Annotated[
        str, arg(help="show only the cells of this preset or your grid's file, missing ones included")
    ] = ""
    csv: Annotated[Path | None, arg(help="also write the finished rows to this CSV file")] = None
    parquet: Annotated[Path | None, arg(help="also write the finished rows to this Parquet file (needs pyarrow)")] = (
        None
    )
    results: Tables = ()
    only: Annotated[str, arg(help="show only these, such as 'lr=1e-3 arch=mamba,lstm'")] = ""
    runs_dir: Annotated[
        RunsDirs, arg(help="folders of run directories; default: runs, or none if --results is given")
    ] = ()

    def run(self) -> None:
        from retrieval_gap.machine.freed_memory import without_collection
        from retrieval_gap.runs.listing import show_results

        folders = self.runs_dir or (() if self.results and not self.preset else (Path("runs"),))
        cells = None
        if self.preset:
            from retrieval_gap.experiments.grids import named_cells

            cells = named_cells(self.preset)
        with without_collection():
            show_results(folders, cells, tables=self.results, only=self.only, csv=self.csv, parquet=self.parquet)


@dataclass(frozen=True, kw_only=True)
class CompareCommand:
    """Compare two result tables cell by cell: the difference and its 95 % interval. With one table, compare it with the
    published values: which cells are reproduced, which are not, and which were not run."""

    table: Annotated[Positional[Path], arg(metavar="TABLE", help="a result table, CSV or .parquet")]
    other: Annotated[
        Positional[Path | None], arg(metavar="OTHER", help="table to compare it with; default: the published values")
    ] = None
    only: Only = ""
    csv: Annotated[Path | None, arg(help="also write the comparison to this CSV file, one row per cell")] = None

    def run(self) -> None:
        from retrieval_gap.tables.compare import compare_tables

        compare_tables(self.table, self.other, self.only, self.csv)


@dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write the results as one HTML page that needs no network: charts, table, learning curves, samples, figures, and
    the configuration and hardware behind each number."""

    out: Annotated[Path, arg(help="output folder for index.html")] = Path("report")
    results: Tables = ()
    runs_dir: Annotated[
        RunsDirs,
        arg(help="folders of run directories; default: runs, and the tables in results/"),
    ] = ()

    def run(self) -> None:
        from retrieval_gap.plots.report import write_report

        page = write_report(self.out, self.runs_dir, self.results)
        print(f"{page}, {page.stat().st_size / 1e6:.1f} MB")
