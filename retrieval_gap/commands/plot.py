"""`retrieval-gap plot`: a figure from result tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw a figure from result tables (PNG and SVG)."""

    figure: Annotated[Positional[str], arg(metavar="FIGURE", help="fig2_istree, fig_state_bits, idea, ...")]
    results: Annotated[Path | None, arg(help="result table; default: the figure's own in results/")] = None
    out: Annotated[Path, arg(help="folder for the pictures")] = Path("out")

    def run(self) -> None:
        from retrieval_gap.plots import draw

        for path in draw(self.figure, self.results, self.out):
            print(path)
