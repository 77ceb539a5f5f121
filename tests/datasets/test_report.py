"""`data check` reports what a file holds and which records are left out."""

import json
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from tests.tasks.hotpotqa.data import real_file
from tests.tasks.hotpotqa.test_records import official, written


def test_counts_and_reasons_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [official(_id=str(number), answer="yes") for number in range(3)]
    records += [official(_id=f"bad {number}", answer="") for number in range(30)]
    path = written(tmp_path / "a.json", records)
    assert main(["data", "check", str(path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{path}: 3 questions, 30 left out"
    assert "  type        3 bridge" in told
    assert "  answer      3 yes or no" in told
    assert "  paragraphs  3 with 3" in told
    assert "  left out: record 4 (bad 0): it has no answer" in told
    assert sum("left out: " in line for line in told) == 20
    assert "  ... and 10 more (--all lists them)" in told
    assert main(["data", "check", str(path), "--all"]) == 0
    assert sum("left out: " in line for line in capsys.readouterr().out.splitlines()) == 30


def test_words_of_all_paragraphs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "a.json", [official()])
    assert main(["data", "check", str(path)]) == 0
    assert "28 in all paragraphs (median; 28 to 28)" in capsys.readouterr().out


def test_a_file_without_a_usable_question_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{}]))
    assert main(["data", "check", str(tmp_path / "a.json")]) == 2
    assert "no usable question in it; record 1: it has no context" in capsys.readouterr().err


def test_real_files_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(real_file("hard_a_300.jsonl"))]) == 0
    told = capsys.readouterr().out
    assert "300 questions, 0 left out" in told
    assert "238 bridge, 62 comparison" in told
    assert "297 with 10, 2 with 4, 1 with 2" in told
