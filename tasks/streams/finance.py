"""The next change of the S&P 500, in percent: daily from open-high-low-close rows, or monthly from Shiller's series.

Step t's input is the close of day (month) t and what led to it; its truth is the change to the next row, known when
that day, or month, is over.  Shiller's rows are means over a month, so neighbouring changes are correlated by
construction (Working, Econometrica 28, 1960); his dividends, earnings and prices in today's money were published
later than the month of their row, so they are not inputs.
"""

import calendar
from collections.abc import Sequence
from datetime import date, timedelta

from ..api import TaskError
from .stream import Benchmark, Step, Stream, StreamConfig, Target
from .tables import LeftOutLines, TableLine, day, header, in_order, number, read_rows, usable

DAILY = ("date", "open", "high", "low", "close")
MONTHLY = ("Date", "SP500", "Long Interest Rate")
LONGEST_BREAK = timedelta(days=7)  # between two trading days; the market was closed for a week in September 2001
LARGEST_FACTOR = 2.0  # from a row to the next, or back; more is a wrong row (August 1932 was up by 50 %)


class Finance(Benchmark):
    """Targets: change (number, percent) and direction (choice).  The seed decides on which day a stream starts.
    With steps=0, or as many as there are, there is one stream, the whole series."""

    name = "finance"
    files = "prices of an index, such as daily_2000_2020.csv or monthly_1871_2026.csv"

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        assert config.data is not None, "checked by Benchmark"
        self._monthly = "SP500" in header(config.data)
        self._columns = MONTHLY if self._monthly else DAILY
        self._left_out = LeftOutLines(config.data)
        rows = read_rows(config.data, self._columns, self._left_out)
        prices = (self._columns[1],) if self._monthly else self._columns[1:]
        rows = self._positive(usable(rows, prices, self._columns[0], self._left_out), prices)
        self._rows = in_order(rows, self._date, self._left_out)
        follows = [False, *(self._follows(place) for place in range(1, len(self._rows))), False]
        self._places = [t for t in range(1, len(self._rows)) if follows[t] and follows[t + 1]]
        if len(self._places) < 2:
            raise TaskError(f"{config.data}: fewer than four rows in a row can be used")
        self.left_out = self._left_out.told()
        unit = "month" if self._monthly else "trading day"
        self.targets = (
            Target(
                name="change",
                kind="number",
                question=f"By how many percent will the index change to the next {unit}?",
                unit="%",
            ),
            Target(
                name="direction",
                kind="choice",
                question=f"Will the index be up or down on the next {unit}?",
                options=("up", "down"),
            ),
        )

    @property
    def available(self) -> int | None:
        return None if 0 < self.config.steps < len(self._places) else 1

    def stream(self, number: int) -> Stream:
        if self.available is not None and number >= self.available:
            raise TaskError(f"finance: with --steps {self.config.steps} there is one stream, no stream {number}")
        length = min(self.config.steps or len(self._places), len(self._places))
        start = int(self.rng(number).integers(len(self._places) - length + 1))
        steps = tuple(self._step(t, place) for t, place in enumerate(self._places[start : start + length]))
        return Stream(number=number, name=f"S&P 500 from {steps[0].time}", steps=steps)

    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """Mean, spread and direction of the changes so far."""
        changes = [float(str(step.truth["change"])) for step in past if step.truth is not None]
        if not changes:
            return []
        mean = sum(changes) / len(changes)
        spread = (sum((change - mean) ** 2 for change in changes) / len(changes)) ** 0.5
        up = sum(change > 0 for change in changes)
        return [
            f"mean change {mean:+.2f} %, standard deviation {spread:.2f} %, {len(changes)} changes",
            f"up {up}, down {len(changes) - up}",
        ]

    def _step(self, t: int, place: int) -> Step:
        row, change, following = self._rows[place], self._change(place), self._change(place + 1)
        fields = {"date": row.values[self._columns[0]], "change %": f"{change:+.2f}"}
        if self._monthly:
            fields |= {"mean price of the month": row.values["SP500"]}
            rate = number(row, "Long Interest Rate")
            fields |= {"long interest rate %": f"{rate:g}"} if rate else {}
        else:
            fields |= {name: f"{number(row, name) or 0.0:.2f}" for name in self._columns[1:]}
        return Step(
            number=t,
            time=self._known(place),
            input=fields,
            truth={"change": following, "direction": _direction(following)},
            known_after=self._known(place + 1),
            now={"change": 0.0, "direction": _direction(change)},
        )

    def _change(self, place: int) -> float:
        """Percent, from the row before."""
        before, after = (number(self._rows[at], self._price) or 0.0 for at in (place - 1, place))
        return 100 * (after / before - 1)

    @property
    def _price(self) -> str:
        return "SP500" if self._monthly else "close"

    def _known(self, place: int) -> str:
        """A month's mean is known at its end."""
        when = self._date(self._rows[place])
        if self._monthly:
            when = when.replace(day=calendar.monthrange(when.year, when.month)[1])
        return when.isoformat()

    def _date(self, row: TableLine) -> date:
        found = day(row, self._columns[0])
        assert found is not None, "rows without a date were left out"
        return found

    def _positive(self, rows: Sequence[TableLine], prices: Sequence[str]) -> list[TableLine]:
        kept = []
        for row in rows:
            if all((number(row, price) or 0.0) > 0 for price in prices):
                kept.append(row)
            else:
                self._left_out.add("rows with a price of 0 or less are left out", row.line)
        return kept

    def _follows(self, place: int) -> bool:
        """Whether a row directly follows the one before it; reported if not."""
        before, after = self._date(self._rows[place - 1]), self._date(self._rows[place])
        whole = (after.year - before.year) * 12 + after.month - before.month == 1
        if not (whole if self._monthly else after - before <= LONGEST_BREAK):
            self._left_out.add("rows behind a gap have no change and are not steps", self._rows[place].line)
            return False
        if not 1 / LARGEST_FACTOR <= 1 + self._change(place) / 100 <= LARGEST_FACTOR:
            self._left_out.add(
                f"changes by a factor of more than {LARGEST_FACTOR:g} are not steps", self._rows[place].line
            )
            return False
        return True


def _direction(change: float) -> str:
    """A change of 0 counts as down."""
    return "up" if change > 0 else "down"


BENCHMARK = Finance
