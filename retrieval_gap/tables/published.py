"""Published accuracies on IsTree, by setting; the table comes with a checkout."""

from typing import NamedTuple

from retrieval_gap.tables.filters import conditions, meets
from retrieval_gap.tables.identity import Setting
from retrieval_gap.tables.rows import PUBLISHED
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, share_in

SAMPLES = 5_000  # of the test split per value, one model per cell; the paper, section 5


class Published(NamedTuple):
    """reading_error: how far a value may be off because it was read from a figure."""

    accuracy: float
    reading_error: float


def read_published(only: str = "") -> dict[Setting, Published]:
    """Return published accuracies, of problems without options, on the test split.

    only: a filter of rows; its conditions on how a model was trained apply to our rows alone.
    Raises UsageError if the table is missing or invalid.
    """
    values = {}
    fields = ("task", "family", "mode", "arch", "size")
    about_cells = [condition for condition in conditions(only) if condition[0] in Setting._fields]
    for where, row in read_rows(PUBLISHED, (*fields, "n", "accuracy", "reading_error")):
        setting = Setting(**{key: row[key] for key in fields}, n=count_in(where, row, "n"), options="")
        if meets(setting._asdict(), about_cells):
            values[setting] = Published(share_in(where, row, "accuracy"), share_in(where, row, "reading_error"))
    return values
