"""Tables of heads (`retrieval-gap heads table --csv FILE`) as figures read them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, number_in, share_in

from . import style
from .kept import Kept, spread
from .results import RESULTS

DEFAULT_TABLE = RESULTS / "heads_demo.csv"
SHUFFLED_STATES = "shuffled states"
_TEXT = ("dataset", "metric", "head", "control", "versus", "place")
# Whose states, and how heads were trained: shown if a table has several.  Older tables have only those needed.
_NEEDED = ("model", "layer", "half", "copies")
_VARIANT = (
    *_NEEDED, "tune_lr", "text_seed", "precision", "budget", "rates", "steps", "batch_size", "evaluate_every",
    "patience",
)  # fmt: skip
_COUNTS = ("n", "window", "seeds", "test_examples", "parameters")
_SHARES = {"score": "accuracy", "score_low": "low", "score_high": "high"}
_DIFFERENCE = ("difference", "difference_low", "difference_high", "detectable")
_FLOORS = ("majority", "bag_of_words", "first_token")
METRICS = {"accuracy": "accuracy", "span_f1": "span F1"}
# From heads that see no order to those that do; a user's own come last.
READING_ORDER = (
    "first", "last", "max", "mean", "linear", "mlp", "attention", "conv1d", "transformer", "gru", "lstm", "bigru",
    "bilstm", "mamba",
)  # fmt: skip
MOST_IN_A_LINE = 3  # panels
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")

Setting = tuple[str, int, tuple[str, ...]]  # of a panel: the set, its n, the variant


@dataclass(frozen=True, kw_only=True)
class HeadRow:
    """A row: a head in one setting, and what it is compared with ("" for nothing).  window: 0 for the whole text.
    variant: the columns `_VARIANT`.  shown: those that differ within the table, for a panel's title.
    place: a tenth of the text, None for all of it.  accuracy: the score.  floor: the highest of the set's floors."""

    dataset: str
    metric: str
    variant: tuple[str, ...]
    head: str
    control: str
    versus: str
    n: int
    window: int
    seeds: int
    test_examples: int
    parameters: int
    place: int | None
    accuracy: float
    low: float
    high: float
    floor: float
    difference: float | None = None
    difference_low: float = 0.0
    difference_high: float = 0.0
    detectable: float = 0.0
    shown: str = ""

    @property
    def setting(self) -> Setting:
        return self.dataset, self.n, self.variant

    @property
    def model(self) -> str:
        return self.variant[0]

    @property
    def tuned(self) -> bool:
        return bool(self.variant[_VARIANT.index("tune_lr")])


def read_heads(path: Path) -> Kept[HeadRow]:
    """Raises UsageError, with file and line, for an invalid table."""
    columns = (*_TEXT, *_NEEDED, *_COUNTS, *_SHARES, *_DIFFERENCE, *_FLOORS)
    rows = [_row(where, row) for where, row in read_rows(path, columns, "heads table --csv FILE")]
    if not rows:
        raise UsageError(f"results table {path} is empty; `retrieval-gap heads table --csv FILE` makes one")
    differing = [place for place, values in enumerate(zip(*(row.variant for row in rows), strict=True))
                 if len(set(values)) > 1]  # fmt: skip
    shown = [", ".join(_word(place, row.variant[place]) for place in differing) for row in rows]
    return Kept(path, tuple(replace(row, shown=words) for row, words in zip(rows, shown, strict=True)))


def _word(place: int, value: str) -> str:
    """What a part of a variant is called in a title."""
    words = {
        "model": value,
        "layer": f"layer {value}",
        "half": f"{value} half",
        "copies": "text twice" if value == "2" else "text once",
        "tune_lr": "model tuned" if value else "model frozen",
    }
    name = _VARIANT[place]
    return words.get(name, f"{name.replace('_', ' ')} {value}")


def _row(where: str, row: dict[str, str]) -> HeadRow:
    values: dict[str, Any] = {key: row[key] for key in _TEXT} | {key: count_in(where, row, key) for key in _COUNTS}
    values["variant"] = tuple(row.get(key, "") for key in _VARIANT)
    values |= {name: share_in(where, row, key) for key, name in _SHARES.items()}
    values["floor"] = max(share_in(where, row, key) for key in _FLOORS if row[key])
    values["place"] = count_in(where, row, "place") if row["place"] else None
    if row["versus"]:
        values |= {key: _number(where, row, key) for key in _DIFFERENCE}
    return HeadRow(**values)


def _number(where: str, row: dict[str, str], key: str) -> float:
    value = number_in(where, row, key)
    if not -1 <= value <= 1:
        raise UsageError(f"{where}: {key} = {value} is out of range: expected -1 to 1")
    return value


def set_title(row: HeadRow) -> str:
    name = row.dataset.replace("_", " ") + (f", {row.n} words" if row.n else "")
    return f"{name}\n{row.shown}" if row.shown else name


def settings_of(rows: Sequence[HeadRow]) -> list[Setting]:
    """The settings, one for each panel, in drawing order: the variant with the most panels first, generated sets before
    those from files."""
    settings = list(dict.fromkeys(row.setting for row in rows))
    order = [variant for variant, _ in Counter(variant for _, _, variant in settings).most_common()]
    return sorted(settings, key=lambda each: (order.index(each[2]), each[1] == 0))


def heads_of(rows: Sequence[HeadRow]) -> list[str]:
    """The heads of these rows in drawing order."""
    places = {head: place for place, head in enumerate(READING_ORDER)}
    heads = dict.fromkeys(row.head for row in rows)
    return sorted(heads, key=lambda head: (places.get(head.partition("+")[0], len(places)), head))


def head_looks(heads: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour, mark and dash of each: a repeated colour is dashed."""
    return {
        head: style.filled_marker(style.MARKS[place % len(style.MARKS)], _PALETTE[place % len(_PALETTE)])
        | {"linestyle": _DASHES[place // len(_PALETTE) % len(_DASHES)]}
        for place, head in enumerate(heads)
    }


def head_keys(heads: Sequence[str]) -> list[Line2D]:
    return [Line2D([], [], label=head, **look) for head, look in head_looks(heads).items()]


def making(rows: Sequence[HeadRow]) -> str:
    """How the numbers were made, for a caption."""
    tuned = {row.tuned for row in rows}
    how = "frozen or fine-tuned (see panels)" if len(tuned) > 1 else "fine-tuned" if tuned == {True} else "frozen"
    models = " and ".join(dict.fromkeys(row.model for row in rows))
    return (
        f"Token states of {models}, {how}; heads of {spread([row.parameters for row in rows])} parameters, with the "
        f"same steps and learning-rate search. Seeds: {spread([row.seeds for row in rows])}. Test examples: "
        f"{spread([row.test_examples for row in rows if row.place is None])} per set. Error bars: 95 %, bootstrap over "
        "groups of examples and seeds."
    )
