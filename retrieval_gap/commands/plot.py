"""`retrieval-gap plot`: a figure from result tables, or from runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from retrieval_gap.machine.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class PlotCommand:
    """Draw a figure as PNG and SVG: a built-in one, your own, `accuracy` by any column, or learning `curves`."""

    figure: Annotated[
        Positional[str],
        arg(metavar="FIGURE", help="figure: fig2_istree, fig_state_bits, idea, ..., a .py file, accuracy, or curves"),
    ]
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help="with `curves`: run directories")] = ()
    results: Annotated[
        Path | None, arg(help="result table (fig_systems: a folder of them); default: the figure's in results/")
    ] = None
    x: Annotated[
        str,
        arg(
            help="with `accuracy`: x axis: n, tested_n, size, parameters, state_bits, samples, lr, seed or an option of"
            " the task; default: n"
        ),
    ] = ""
    y: Annotated[
        str,
        arg(help="with `accuracy`: y axis: accuracy, accuracy_strict, exact_trace or undecided; default: accuracy"),
    ] = ""
    panel: Annotated[
        str, arg(help="with `accuracy`: one panel for each value of this column or option; default: mode")
    ] = ""
    color: Annotated[
        str, arg(help="with `accuracy`: one colour for each value of this column or option; default: arch")
    ] = ""
    out: Annotated[Path, arg(help="output folder")] = Path("out")

    def run(self) -> None:
        for path in self._drawn():
            print(path)

    def _drawn(self) -> list[Path]:
        from retrieval_gap.plots import draw, draw_accuracy, draw_curves

        if self.runs and self.figure != "curves":
            raise UsageError(f"{self.figure} takes no run directories; plot curves RUN... draws them")
        chosen = {key: value for key in ("x", "y", "panel", "color") if (value := getattr(self, key))}
        if chosen and self.figure != "accuracy":
            raise UsageError(f"--{next(iter(chosen))} is a flag of plot accuracy, not of {self.figure}")
        if self.figure == "accuracy":
            from retrieval_gap.plots.series import SeriesView

            return draw_accuracy(self.results, SeriesView(**chosen), self.out)
        if self.figure == "curves":
            if self.results is not None:
                raise UsageError("plot curves draws run directories; leave out --results")
            return draw_curves(self.runs, self.out)
        return draw(self.figure, self.results, self.out)
