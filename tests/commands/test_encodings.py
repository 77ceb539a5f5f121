"""Text in any encoding: a file that cannot be read is named by its format, output that cannot be shown is escaped."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.tables.texts import read_rows
from tests.experiments.hotpotqa_llm.questions import QUESTIONS, record, write_questions


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_samples_are_shown_on_an_output_of_any_encoding(encoding: str, tmp_path: Path) -> None:
    records = [record(number) for number in range(QUESTIONS)]
    for each in records:
        each["question"] = f"{each['question']} Łódź \u2011 東京"
    (tmp_path / "questions.json").write_text(json.dumps(records))
    command = [sys.executable, "-m", "retrieval_gap.cli", "pretrained", "hotpotqa", "--model", "x", "--dry-run"]
    told = subprocess.run(
        [*command, "--data", str(tmp_path / "questions.json")],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (told.returncode, told.stderr) == (0, b"")
    assert ("Łódź" if encoding == "utf-8" else r"\u0141\xf3d\u017a").encode() in told.stdout or b"\xf3d" in told.stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"[]", mtime=0), "gzip-compressed; unpack it first (gunzip)"),
        ("[]".encode("utf-16"), "UTF-16; convert it first"),
        ("[1, 2]".encode("utf-16-le"), "UTF-16; convert it first"),
        (b"PK\x03\x04rest", "ZIP archive"),
    ],
    ids=["gzip", "utf_16", "utf_16_without_mark", "zip"],
)
def test_data_and_tables_that_are_not_text_are_named_by_their_format(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    assert main(["pretrained", "hotpotqa", "--model", "x", "--data", str(path), "--dry-run"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert main(["plot", "fig2_istree", "--results", str(path), "--out", str(tmp_path)]) == 2
    assert "results table" in capsys.readouterr().err


def test_a_table_with_a_spreadsheets_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfmodel,n\na,2\n")
    ((_, row),) = read_rows(tmp_path / "t.csv", ("model", "n"))
    assert row == {"model": "a", "n": "2"}


def test_questions_with_half_a_character_are_left_out_before_any_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_questions(tmp_path / "questions.json", 3)
    records = json.loads(data.read_text())
    records[0]["question"] += "\ud83d"
    records[1]["context"][0][1][0] = "\udc00"
    data.write_text(json.dumps(records))
    assert main(["data", "check", str(data)]) == 0
    told = capsys.readouterr()
    assert "half a character" in told.out + told.err
    assert main(["pretrained", "hotpotqa", "--model", "x", "--data", str(data), "--dry-run"]) == 0
    assert ": 1 questions" in capsys.readouterr().out
