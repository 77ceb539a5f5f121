"""Tables are read as text, each row with its place, from CSV and from Parquet."""

from pathlib import Path

import pytest

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.rows import write_parquet, write_table
from retrieval_gap.tables.texts import make_it, read_rows

ROWS = [{"n": 8, "note": "a, b\n«c»"}, {"n": 16, "note": ""}]
TEXTS = [{"n": "8", "note": "a, b\n«c»"}, {"n": "16", "note": ""}]


def test_the_place_of_a_row_in_a_csv_file_is_the_line_where_it_ends(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["n", "note"], ROWS)
    rows = read_rows(tmp_path / "t.csv", ["n"])
    assert [row for _, row in rows] == TEXTS
    assert [where.rpartition(", ")[2] for where, _ in rows] == ["line 3", "line 4"]


def test_the_place_of_a_row_in_a_parquet_file_is_its_number(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "t.parquet", ROWS)
    rows = read_rows(tmp_path / "t.parquet", ["n"])
    assert [{name: row[name] for name in ("n", "note")} for _, row in rows] == TEXTS
    assert [where.rpartition(", ")[2] for where, _ in rows] == ["row 1", "row 2"]


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_a_line_is_reported_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UsageError, match=r"t\.csv is empty; `retrieval-gap probe` makes a table"):
        read_rows(tmp_path / "t.csv", ["n"], "probe")


def test_the_error_for_a_missing_column_names_the_command_that_makes_such_a_table(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["n"], ROWS)
    with pytest.raises(UsageError) as told:
        read_rows(tmp_path / "t.csv", ["n", "f1", "bits"], "probe RUN --csv FILE")
    assert str(told.value).endswith(f"lacks the column f1, bits; {make_it('probe RUN --csv FILE')}")
