"""Result tables are read, merged by configuration, and written as CSV and Parquet."""

from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tables.rows import (
    COLUMNS,
    RESULTS,
    Sourced,
    make_room_for_table,
    merge,
    read_table,
    save_table,
    write_parquet,
    write_rows,
)
from tests.tables.result_rows import full_row, write_full


def sourced(*rows: dict[str, Any]) -> list[Sourced]:
    return [Sourced(f"row {i}", row) for i, row in enumerate(rows)]


def test_rows_of_one_configuration_are_one_row_however_they_were_timed() -> None:
    first, other = full_row(), full_row(seed=1)
    again = full_row(wall_s=9.0, tokens_per_s=1.0, hardware="Colossus", commit="012345678901", threads=8)
    assert [source.row for source in merge(sourced(first, other, again))] == [first, other]


def test_contradicting_rows_of_one_configuration_are_an_error_that_names_both() -> None:
    with pytest.raises(UsageError, match=r"row 0 and row 2 are .* but accuracy is 0\.75 and 0\.76"):
        merge(sourced(full_row(), full_row(seed=1), full_row(accuracy=0.76)))


def test_contradicting_rows_may_be_kept_and_their_copies_are_still_dropped() -> None:
    rows = [full_row(), full_row(accuracy=0.76), full_row(), full_row(accuracy=0.76, wall_s=1.0)]
    merged = merge(sourced(*rows), keep_contradictions=True)
    assert [source.where for source in merged] == ["row 0", "row 1"]


def test_a_column_that_one_table_lacks_is_not_a_contradiction() -> None:
    assert len(merge(sourced(full_row(), full_row(f1=0.5)))) == 1


def test_a_value_that_one_copy_of_a_row_lacks_is_taken_from_the_other() -> None:
    (merged,) = merge(sourced(full_row(warmup_samples=None), full_row(max_grad_norm=None)))
    assert merged.where == "row 0"
    assert (merged.row["warmup_samples"], merged.row["max_grad_norm"]) == (10_000, 0.0)


def test_csv_and_parquet_give_back_what_was_written(tmp_path: Path) -> None:
    rows = [full_row(accuracy=1 / 3), full_row(seed=1, state_bits=None, lr=1e-3), full_row(seed=2, note="a, b\n«c»")]
    rows = [{"note": ""} | row for row in rows]
    write_rows(tmp_path / "t.csv", rows)
    write_parquet(tmp_path / "t.parquet", rows)
    for name in ("t.csv", "t.parquet"):
        assert [source.row for source in read_table(tmp_path / name)] == rows


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "from retrieval_gap.about import About\n", "\n", "\x00\x01"])
def test_a_file_that_is_no_table_of_ours_is_refused_before_any_work(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UsageError, match="exists, and is no table that this program writes"):
        make_room_for_table(path)
    assert path.read_text() == text


def test_a_table_an_empty_file_and_a_new_name_may_be_written(tmp_path: Path) -> None:
    for name in ("istree_demo", "heads_demo", "memory_demo", "constructions", "istree_transfer", "theory_demo_probe"):
        path = tmp_path / f"{name}.csv"
        path.write_bytes((RESULTS / path.name).read_bytes())
        make_room_for_table(path, path.read_text().splitlines()[0].split(","))
    write_parquet(tmp_path / "t.parquet", [full_row()])
    (tmp_path / "empty.csv").touch()
    for name in ("t.parquet", "empty.csv", "new.csv"):
        make_room_for_table(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("heads_demo", "heads"), ("memory_demo", "memories"), ("hotpotqa_pretrained", "pretrained models"),
        ("istree_transfer", "tests of runs"), ("theory_demo_probe", "probes of runs"),
        ("constructions", "constructions"),
    ],
)  # fmt: skip
def test_a_table_of_another_kind_is_refused_before_any_work(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes((RESULTS / f"{name}.csv").read_bytes())
    with pytest.raises(UsageError, match=rf"t\.csv is a table of {kind}, not of runs; expected another name"):
        make_room_for_table(path)
    (tmp_path / "runs.csv").write_bytes((RESULTS / "istree_demo.csv").read_bytes())
    with pytest.raises(UsageError, match=rf"is a table of runs, not of {kind};"):
        make_room_for_table(tmp_path / "runs.csv", path.read_text().splitlines()[0].split(","))


def test_no_rows_leave_an_earlier_table_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    for rows, told in (([full_row()], "1 rows written to"), ([], "no rows: "), ([full_row(seed=1)] * 2, "2 rows")):
        save_table(path, COLUMNS, rows)
        assert told in capsys.readouterr().out
    assert [source.row["seed"] for source in read_table(path)] == [1, 1]
    save_table(tmp_path / "none.csv", COLUMNS, [])
    assert (tmp_path / "none.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_parquet_holds_numbers_as_numbers(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "t.parquet", [full_row()])
    kinds = {field.name: str(field.type) for field in parquet.read_schema(tmp_path / "t.parquet")}
    assert tuple(kinds) == COLUMNS
    assert (kinds["n"], kinds["accuracy"], kinds["config_hash"]) == ("int64", "double", "string")


def test_a_value_of_the_wrong_type_is_not_written_to_parquet(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="column n cannot be written"):
        write_parquet(tmp_path / "t.parquet", [full_row(n="many")])
    assert list(tmp_path.iterdir()) == []


def test_the_committed_tables_of_runs_merge() -> None:
    tables = [RESULTS / name for name in ("istree_demo.csv", "istree_cpu.csv", "istree_lr.csv", "theory_demo.csv")]
    rows = [source for path in tables for source in read_table(path)]
    merged = merge(rows)
    assert len({source.row["config_hash"] for source in rows}) == len(merged) < len(rows)
    assert {source.row["precision"] for source in merged} == {"fp32"}  # these tables are older than the column


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"accuracy": "high"}, r"t\.csv, line 2: accuracy = 'high' is not a share"),
        ({"accuracy": "nan"}, "accuracy = 'nan' is not a share"),
        ({"undecided": "1.5"}, "undecided = '1.5' is not a share"),
        ({"n": "8.5"}, "n = '8.5' is not a whole number"),
        ({"wall_s": "inf"}, "wall_s = 'inf' is not a number"),
        ({"config_hash": ""}, "config_hash is empty"),
        ({"accuracy": ""}, "accuracy is empty"),
    ],
)
def test_the_error_for_an_impossible_value_names_its_place(changes: dict[str, str], why: str, tmp_path: Path) -> None:
    write_rows(tmp_path / "t.csv", [full_row() | changes])
    with pytest.raises(UsageError, match=why):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.csv", b"", "is empty; `retrieval-gap sweep demo"),
        ("t.csv", b"task,mode\nistree,cot\n", "lacks the column family, n, arch, size, embedding, parameters and"),
        ("t.csv", ",".join(COLUMNS).encode() + b"\n", "is empty: no run has finished"),
        ("t.csv", ",".join((*COLUMNS, "n")).encode() + b"\n", "has the column n more than once"),
        ("t.csv", ",".join(COLUMNS).encode() + b"\nistree,cot\n", f"line 2: expected {len(COLUMNS)} fields"),
        ("t.csv", b"PAR1\xff\x00", "cannot be read"),
        ("t.parquet", b"PAR1 is not all", "cannot be read"),
        ("t.parquet", None, "there is no results table"),
    ],
)
def test_a_file_that_is_not_a_table_of_runs_is_refused_in_one_line(
    name: str, content: bytes | None, why: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=why) as told:
        read_table(tmp_path / name)
    assert "\n" not in str(told.value)


def test_results_merges_tables_of_several_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = write_full(tmp_path / "here.csv", full_row(), full_row(seed=1))
    there = write_full(tmp_path / "there.csv", full_row(seed=1, wall_s=1.0), full_row(seed=2))
    every = tmp_path / "every.csv"
    assert main(["results", "--results", str(here), str(there), "--csv", str(every)]) == 0
    told = capsys.readouterr().out
    assert "3 done" in told
    assert "3 rows written" in told
    assert [source.row["seed"] for source in read_table(every)] == [0, 1, 2]


def test_results_refuses_tables_that_contradict_each_other_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = write_full(tmp_path / "a.csv", full_row()), write_full(tmp_path / "b.csv", full_row(accuracy=0.5))
    assert main(["results", "--results", str(here), str(there), "--csv", str(tmp_path / "c.csv")]) == 2
    told = capsys.readouterr().err
    assert "a.csv, line 2" in told
    assert "b.csv, line 2" in told
    assert not (tmp_path / "c.csv").exists()
