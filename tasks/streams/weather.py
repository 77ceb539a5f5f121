"""Tomorrow's weather from today's: the sky's class, the temperature and, if the file has it, the day's sentence.

Two files are read.  Vega's: location, date, precipitation, temp_max, temp_min, wind, weather (NOAA, two places).
Szeged's: hours, means and extremes of a day, and `daily_summary`, a sentence about that same day; its first phrase is
the sky's class.  Step t's input is day t, whole; its truth is day t + 1, known when that day is over.
Szeged's sentences are judged exactly and by the F1 of their words, which is how we read the "Align" of arXiv
2601.13352; its own definition was not at hand.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from ..api import TaskError
from .stream import Benchmark, Step, Stream, StreamConfig, Target, Value
from .tables import LeftOutLines, TableLine, day, header, in_order, number, read_rows, usable

RARE, OTHER = 0.01, "other"  # classes with a smaller share of the days are merged
PHRASE_ENDS = re.compile(r" (?:throughout|starting|until|overnight|in the)\b|\.")


@dataclass(frozen=True, kw_only=True)
class _Form:
    """One file format.  shown: column by the field's name.  temperature: the column of the day's."""

    columns: tuple[str, ...]
    shown: dict[str, str]
    numbers: tuple[str, ...]
    temperature: str
    sky: str
    place: str
    text: bool


VEGA = _Form(
    columns=("location", "date", "precipitation", "temp_max", "temp_min", "wind", "weather"),
    shown={
        "sky": "weather",
        "high C": "temp_max",
        "low C": "temp_min",
        "precipitation mm": "precipitation",
        "wind m/s": "wind",
    },
    numbers=("precipitation", "temp_max", "temp_min", "wind"),
    temperature="temp_max",
    sky="weather",
    place="location",
    text=False,
)
SZEGED = _Form(
    columns=("date", "temp_min_c", "temp_mean_c", "temp_max_c", "humidity_mean", "wind_mean_kmh", "precip_type",
             "daily_summary"),
    shown={
        "summary": "daily_summary",
        "mean C": "temp_mean_c",
        "high C": "temp_max_c",
        "low C": "temp_min_c",
        "humidity": "humidity_mean",
        "wind km/h": "wind_mean_kmh",
        "precipitation": "precip_type",
    },
    numbers=("temp_min_c", "temp_mean_c", "temp_max_c", "humidity_mean", "wind_mean_kmh"),
    temperature="temp_mean_c",
    sky="daily_summary",
    place="",
    text=True,
)  # fmt: skip


class Weather(Benchmark):
    """Targets: sky (choice), temperature (number), and text with Szeged's file.  Streams take the file's places in
    turn; the seed decides on which day they start.  With steps=0, or as many as each place has, they are each place's
    whole series."""

    name = "weather"
    files = "a daily weather file, such as seattle_newyork_daily.csv or szeged_daily_2006_2016.csv"

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        assert config.data is not None, "checked by Benchmark"
        self._form = SZEGED if "daily_summary" in header(config.data) else VEGA
        self._left_out = LeftOutLines(config.data)
        rows = read_rows(config.data, self._form.columns, self._left_out)
        rows = usable(rows, self._form.numbers, "date", self._left_out)
        rows = self._with_sky(rows)
        places = dict.fromkeys(self._place(row) for row in rows)
        self._series = {place: self._pairs([row for row in rows if self._place(row) == place]) for place in places}
        self._series = {place: pairs for place, pairs in self._series.items() if len(pairs) > 1}
        if not self._series:
            raise TaskError(f"{config.data}: no place has three days in a row that can be used")
        shares = Counter(phrase(row.values[self._form.sky]) for row in rows)
        self._classes = sorted(name for name, days in shares.items() if days >= RARE * len(rows))
        self._classes += [OTHER] if len(self._classes) < len(shares) else []
        self.left_out = self._left_out.told()
        self.targets = self._made_targets()

    @property
    def available(self) -> int | None:
        longest = max(map(len, self._series.values()))
        return None if 0 < self.config.steps < longest else len(self._series)

    def stream(self, number: int) -> Stream:
        places = list(self._series)
        if self.available is not None and number >= self.available:
            raise TaskError(
                f"weather: with --steps {self.config.steps} there are {self.available} streams, no stream {number}"
            )
        place = places[number % len(places)]
        pairs = self._series[place]
        length = min(self.config.steps or len(pairs), len(pairs))
        start = int(self.rng(number).integers(len(pairs) - length + 1))
        chosen = pairs[start : start + length]
        steps = tuple(self._step(t, today, tomorrow) for t, (today, tomorrow) in enumerate(chosen))
        return Stream(number=number, name=f"{place or 'series'} from {steps[0].time}", steps=steps)

    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """For the sky: counts of transitions.  For numbers: the mean change.  For sentences: the commonest."""
        known = [step for step in past if step.truth is not None]
        if target.kind == "choice":
            return transition_notes(known, target.name)
        if target.kind == "number":
            changes = [float(str(step.truth[target.name])) - float(str(step.now[target.name])) for step in known
                       if step.truth is not None]  # fmt: skip
            mean = sum(changes) / len(changes) if changes else 0.0
            return [f"The next day is on average {mean:+.2f} C warmer than the day before ({len(changes)} days)."]
        commonest = Counter(str(step.truth[target.name]) for step in known if step.truth is not None).most_common(10)
        return [f"{times} times: {text}" for text, times in commonest]

    def _made_targets(self) -> tuple[Target, ...]:
        degrees = "mean" if self._form.text else "highest"
        targets = [
            Target(
                name="sky",
                kind="choice",
                question="Which class of weather does the next day have?",
                options=tuple(self._classes),
            ),
            Target(
                name="temperature",
                kind="number",
                question=f"What is the next day's {degrees} temperature, in degrees C?",
                unit="C",
            ),
        ]
        if self._form.text:
            question = "Which sentence sums up the next day's weather? Write it as the summaries are written."
            targets.append(Target(name="text", kind="text", question=question))
        return tuple(targets)

    def _with_sky(self, rows: Sequence[TableLine]) -> list[TableLine]:
        kept = []
        for row in rows:
            if row.values[self._form.sky].strip():
                kept.append(row)
            else:
                self._left_out.add(f"rows without a {self._form.sky} are left out", row.line)
        return kept

    def _place(self, row: TableLine) -> str:
        return row.values[self._form.place] if self._form.place else ""

    def _pairs(self, rows: Sequence[TableLine]) -> list[tuple[TableLine, TableLine]]:
        """Each day with the next, if the file has it."""
        ordered = in_order(rows, _date, self._left_out)
        pairs = []
        for today, tomorrow in pairwise(ordered):
            if _date(tomorrow) - _date(today) == timedelta(days=1):
                pairs.append((today, tomorrow))
            else:
                self._left_out.add("days before a gap have no next day and are not steps", today.line)
        return pairs

    def _step(self, t: int, today: TableLine, tomorrow: TableLine) -> Step:
        fields = {"date": today.values["date"]}
        fields |= {name: today.values[column] for name, column in self._form.shown.items()}
        return Step(
            number=t,
            time=_date(today).isoformat(),
            input=fields,
            truth=self._values(tomorrow),
            known_after=_date(tomorrow).isoformat(),
            now=self._values(today),
        )

    def _values(self, row: TableLine) -> dict[str, Value]:
        sky = phrase(row.values[self._form.sky])
        values: dict[str, Value] = {
            "sky": sky if sky in self._classes else OTHER,
            "temperature": number(row, self._form.temperature) or 0.0,
        }
        return values | ({"text": row.values[self._form.sky]} if self._form.text else {})


def phrase(text: str) -> str:
    """The first phrase of a day's sentence, in lower case: "Partly cloudy until night." is partly cloudy."""
    return PHRASE_ENDS.split(text.strip(), maxsplit=1)[0].casefold()


def transition_notes(known: Sequence[Step], target: str) -> list[str]:
    """For each present value, the counts of what came next; the commonest present value first."""
    counts: dict[str, Counter[str]] = {}
    for step in known:
        if step.truth is not None and target in step.now:
            counts.setdefault(str(step.now[target]), Counter())[str(step.truth[target])] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
    return [
        f"after {now}: "
        + ", ".join(f"{then} {times}" for then, times in sorted(c.items(), key=lambda i: (-i[1], i[0])))
        for now, c in ordered
    ]


def _date(row: TableLine) -> date:
    found = day(row, "date")
    assert found is not None, "rows without a date were left out"
    return found


BENCHMARK = Weather
