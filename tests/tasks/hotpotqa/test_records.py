"""Both public schemas give the same questions; a record that is not a whole question is left out with its reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.hotpotqa.data import files
from retrieval_gap.tasks.hotpotqa.data.records import Paragraph, Question, read_questions
from tests.tasks.hotpotqa.data import real_file


def official(**changed: Any) -> dict[str, Any]:
    record = {
        "_id": "5a",
        "question": "Who founded the  club that Ann Lee plays for?",
        "answer": "Bo Ek",
        "type": "bridge",
        "level": "hard",
        "supporting_facts": [["Ann Lee", 1], ["Red Club", 0]],
        "context": [
            ["Red Club", ["Red Club was founded by Bo Ek."]],
            ["Blue Club", ["Blue Club is a club.", ""]],
            ["Ann Lee", ["Ann Lee is a player.", " She plays for Red Club."]],
        ],
    }
    return record | changed


def hugging_face(record: dict[str, Any]) -> dict[str, Any]:
    titles, numbers = zip(*record["supporting_facts"], strict=True)
    names, sentences = zip(*record["context"], strict=True)
    return {
        "id": record["_id"],
        **{field: record[field] for field in ("question", "answer", "type", "level")},
        "supporting_facts": {"title": list(titles), "sent_id": list(numbers)},
        "context": {"title": list(names), "sentences": list(sentences)},
    }


EXPECTED = Question(
    id="5a",
    question="Who founded the club that Ann Lee plays for?",
    answer="Bo Ek",
    kind="bridge",
    level="hard",
    paragraphs=(
        Paragraph("Red Club", ("Red Club was founded by Bo Ek.",)),
        Paragraph("Blue Club", ("Blue Club is a club.", "")),
        Paragraph("Ann Lee", ("Ann Lee is a player.", "She plays for Red Club.")),
    ),
    supporting=(("Ann Lee", 1), ("Red Club", 0)),
)


def written(path: Path, records: list[Any]) -> Path:
    """The path, to which the records are written as JSON, JSON lines or Parquet, by its suffix."""
    if path.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_both_schemas_are_read_from_every_form_of_file(tmp_path: Path, ending: str) -> None:
    for schema in (official, lambda: hugging_face(official())):
        if ending == "parquet" and "_id" in schema():
            continue  # a column of Parquet has one type; [title, number] has two
        records = read_questions(written(tmp_path / f"data.{ending}", [schema()]))
        assert records.kept == (EXPECTED,)
        assert records.left_out == ()


def test_gold_titles_are_in_the_order_of_the_supporting_facts(tmp_path: Path) -> None:
    facts = [["Red Club", 0], ["Ann Lee", 1], ["Red Club", 0], ["Ann Lee", 0]]
    (question,) = read_questions(written(tmp_path / "a.json", [official(supporting_facts=facts)])).kept
    assert question.gold_titles == ("Red Club", "Ann Lee")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"supporting_facts": [["Ann Lee", 1], ["Green Club", 0]]}, "'Green Club' is not in its context"),
        ({"supporting_facts": [["Ann Lee", 2], ["Red Club", 0]]}, "sentence 2 of 'Ann Lee' is outside 0..1"),
        ({"supporting_facts": [["Ann Lee", -1], ["Red Club", 0]]}, "sentence -1 of 'Ann Lee' is outside"),
        ({"supporting_facts": []}, "it has 0 gold paragraphs, not 2"),
        ({"supporting_facts": [["Ann Lee", 0], ["Ann Lee", 1]]}, "it has 1 gold paragraphs, not 2"),
        ({"supporting_facts": [["Ann Lee", "0"], ["Red Club", 0]]}, "not a number but '0'"),
        ({"supporting_facts": [["Ann Lee"]]}, "not a list of"),
        ({"supporting_facts": None}, "no supporting_facts"),
        ({"context": official()["context"] + [["Empty", [" ", ""]]]}, "paragraph 'Empty' is empty"),
        ({"context": official()["context"] + [["", ["Nameless."]]]}, "no title"),
        ({"context": official()["context"] * 2}, "2 paragraphs have the title 'Red Club'"),
        ({"context": {"title": ["Red Club"], "sentences": []}}, "1 titles, but 0 in sentences"),
        ({"context": [["Red Club", "text"]]}, "expected a list, got 'text'"),
        ({"answer": " "}, "it has no answer"),
        ({"question": None}, "it has no question"),
        ({"answer": ["yes"]}, "answer is not text but ['yes']"),
        ({"type": "tricky"}, "its type is 'tricky'"),
    ],
)
def test_a_record_with_a_defect_is_left_out_with_its_reason(
    tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    records = read_questions(written(tmp_path / "a.jsonl", [official(_id="good"), official(**changed)]))
    assert [question.id for question in records.kept] == ["good"]
    (left_out,) = records.left_out
    assert (left_out.id, left_out.where) == ("5a", "line 2")
    assert reason in left_out.reason


def test_of_two_records_with_one_id_the_first_is_kept(tmp_path: Path) -> None:
    records = read_questions(written(tmp_path / "a.json", [official(), official(answer="Cy Fo"), official(_id="6b")]))
    assert [(question.id, question.answer) for question in records.kept] == [("5a", "Bo Ek"), ("6b", "Bo Ek")]
    assert [(left.id, left.where) for left in records.left_out] == [("5a", "record 2")]


def test_only_lines_without_a_json_object_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps(official())
    path.write_bytes(b"\xef\xbb\xbf" + good.encode() + b'\n\n{"_id": \n[]\n' + b"\xff\n")
    records = read_questions(path)
    assert len(records.kept) == 1
    assert [left.where for left in records.left_out] == ["line 3", "line 4", "line 5"]
    assert "no JSON" in records.left_out[0].reason
    assert "not an object but list" in records.left_out[1].reason
    assert "not UTF-8" in records.left_out[2].reason


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[]", "no usable question"),
        (b"[1, 2]", "no usable question in it; record 1: it is not an object but int"),
        (b"no data\n", "no usable question in it; line 1: it is no JSON"),
        (b"[" + json.dumps(official()).encode()[:-9], "record 1: no JSON, or the file is cut off"),
        (b"[" + json.dumps(official()).encode(), "record 2: no JSON, or the file is cut off"),
        (b"[" + json.dumps(official()).encode() + b" {", "record 2: no JSON"),
        (b'["\xff"]', "not UTF-8"),
    ],
)
def test_an_unusable_file_is_refused_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(TaskError) as caught:
        read_questions(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_text_after_a_list_is_an_error_and_is_not_dropped(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK", chunk)
    path = written(tmp_path / "a.json", [official()])
    path.write_text(path.read_text() + " \n")
    assert len(read_questions(path).kept) == 1
    path.write_text(path.read_text() + json.dumps([official(_id="6b")]))
    with pytest.raises(TaskError, match="expected one list alone"):
        read_questions(path)


def test_only_the_line_with_a_number_of_thousands_of_digits_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [official()])
    path.write_text(path.read_text() + f'{{"_id": {"9" * 5000}}}\n')
    records = read_questions(path)
    assert len(records.kept) == 1
    assert [left.where for left in records.left_out] == ["line 2"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no such data file: .*nowhere\.json"):
        read_questions(tmp_path / "nowhere.json")


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_the_size_of_the_parts_in_which_a_file_is_read_does_not_matter(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.json", [official(_id=str(number), answer="Bö Ek 日本") for number in range(3)])
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2, ensure_ascii=False), encoding="utf-8")
    whole = read_questions(path)
    monkeypatch.setattr(files, "CHUNK", chunk)
    assert read_questions(path) == whole
    assert len(whole.kept) == 3


@pytest.mark.parametrize(
    ("name", "count"), [("hard_a_300.jsonl", 300), ("hard_b_300.jsonl", 300), ("official_schema_100.json", 100)]
)
def test_every_real_question_passes_the_checks(name: str, count: int) -> None:
    records = read_questions(real_file(name))
    assert (len(records.kept), len(records.left_out)) == (count, 0)
    for question in records.kept:
        assert set(question.gold_titles) <= {paragraph.title for paragraph in question.paragraphs}
        assert question.kind in ("bridge", "comparison")
