"""`retrieval-gap data get` and `data check`: download public data sets and check them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg, subcommand

if TYPE_CHECKING:
    from retrieval_gap.datasets.download import Watcher


@dataclass(frozen=True, kw_only=True)
class GetCommand:
    """Download a data set and check its hash; call again to resume a download that was cut off."""

    name: Annotated[Positional[str], arg(metavar="NAME", help="data set to download: hotpotqa")]
    part: Annotated[str, arg(help="dev (44 MiB) or train (540 MiB)")] = "dev"
    folder: Annotated[Path, arg(help="parent folder; files go to FOLDER/NAME")] = Path("data")
    url: Annotated[str, arg(help="your own mirror, tried first")] = ""
    sha256: Annotated[str, arg(help="expected SHA-256 of the file (64 hex digits), instead of the known one")] = ""

    def run(self) -> None:
        from retrieval_gap.datasets.catalog import changed, find
        from retrieval_gap.datasets.download import download

        source = changed(find(self.name, self.part), self.url, self.sha256)
        print(f"{source.name}: {source.about}\n{source.title}\nlicence: {source.licence}", flush=True)
        with _progress(source.name) as watch:
            path = download(source, self.folder / self.name, watch)
        print(f"{path}: {path.stat().st_size:,} bytes, SHA-256 {source.sha256}")


@dataclass(frozen=True, kw_only=True)
class CheckCommand:
    """Check a file of HotpotQA questions (JSON, JSON lines or Parquet): what it holds and what is left out."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    all: Annotated[bool, arg(help="list every record that is left out, not only the first 20")] = False

    def run(self) -> None:
        from retrieval_gap.datasets.report import print_report

        print_report(self.file, self.all)


@dataclass(frozen=True, kw_only=True)
class DataCommand:
    """Download public data sets and check them."""

    action: Annotated[
        Annotated[GetCommand, subcommand("get", prefix_name=False)]
        | Annotated[CheckCommand, subcommand("check", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()


@contextmanager
def _progress(name: str) -> Iterator["Watcher"]:
    """A progress bar on standard error, shown only in a terminal."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from retrieval_gap.machine.terminal import LiveConsole

    columns = (
        TextColumn(name, markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = LiveConsole()
    with Progress(*columns, console=console, disable=not console.updates) as bars:
        bar = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total or None)
