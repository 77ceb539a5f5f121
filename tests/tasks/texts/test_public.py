"""Readers of public sets read the real files, if present, and refuse bad ones made here."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.randomness import SPLITS
from retrieval_gap.tasks.texts import PUBLIC, load_texts
from retrieval_gap.tasks.texts.floors import floors
from tests.tasks.texts.coupling_data import public_folder

NAMED = sorted(set(PUBLIC) - {"own"})
CHANCE = {"navigate": 1 / 2, "hyperbaton": 1 / 2, "tracking": 1 / 3, "temporal": 1 / 4, "copa": 1 / 2}


@pytest.mark.parametrize("name", NAMED)
def test_real_files_are_read_and_no_group_is_in_two_splits(name: str) -> None:
    texts = load_texts(name, data=public_folder())
    groups = [{example.group for example in texts.splits[split]} for split in SPLITS]
    assert not groups[0] & groups[1]
    assert not (groups[0] | groups[1]) & groups[2]
    assert all(0 <= floor <= 1 for floor in floors(texts).values())


@pytest.mark.parametrize(
    ("name", "examples"),
    [
        ("commonsenseqa", 1221),
        ("copa", 1000),
        ("navigate", 250),
        ("tracking", 250),
        ("code_bugs", 656),
        ("pubmedqa", 600),
    ],
)
def test_no_example_is_lost(name: str, examples: int) -> None:
    texts = load_texts(name, data=public_folder())
    assert sum(len(texts.splits[split]) for split in SPLITS) == examples


def test_a_mirrored_pair_a_task_in_two_languages_and_the_official_test_stay_together() -> None:
    copa, bugs, pubmed = (load_texts(name, data=public_folder()) for name in ("copa", "code_bugs", "pubmedqa"))
    assert all(len(copa.splits[split]) % 2 == 0 for split in SPLITS)
    assert all(len(bugs.splits[split]) % 4 == 0 for split in SPLITS)
    assert len(pubmed.test) == 291


def _own(folder: Path, *rows: object) -> Path:
    path = folder / "own.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def _row(number: int, **changes: object) -> dict[str, object]:
    splits = ("train", "train", "validation", "test")
    return {"text": f"text {number}", "label": "ab"[number % 2], "split": splits[number // 2 % 4]} | changes


def test_a_users_own_file_keeps_its_splits(tmp_path: Path) -> None:
    texts = load_texts("own", data=_own(tmp_path, *map(_row, range(8))))
    assert [len(texts.splits[split]) for split in SPLITS] == [4, 2, 2]
    assert texts.labels == ("a", "b")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["{"], r"own.jsonl:1: no JSON"),
        ([{"text": "a", "lable": "b"}], r"own.jsonl:1: field 'label' is missing; there are lable, text"),
        ([{"text": 3, "label": "b"}], "field 'text' is not a str"),
        ([], "holds no example"),
        ([*map(_row, range(8)), _row(8, label="c")], "label 'c' occurs once"),
        ([*map(_row, range(8)), _row(8, text=" ")], "example 9: the text is empty"),
        ([*map(_row, range(8)), _row(8, split="dev")], "split 'dev' is none of train, validation, test"),
        ([*map(_row, range(8)), _row(8, split=None)], "some examples name their split, others do not"),
        (
            [_row(number, group="patient 7" if number in (0, 7) else str(number)) for number in range(8)],
            "group 'patient 7' is in two splits, train and test",
        ),
    ],
)
def test_the_error_for_a_bad_file_names_line_field_or_group(tmp_path: Path, rows: list[object], said: str) -> None:
    with pytest.raises(TaskError, match=said) as told:
        load_texts("own", data=_own(tmp_path, *rows))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_a_text_may_hold_any_line_separator_but_a_line_feed(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "own.jsonl"
    rows = [_row(number, text=f"text{mark}{number}") for number in range(8)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows), encoding="utf-8-sig")
    assert load_texts("own", data=path).train[0].texts == (f"text{mark}0",)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda text: text.encode("utf-16"), "it is UTF-16; convert it first"),
        (lambda text: text.encode("utf-16-le"), "it is UTF-16; convert it first"),
        (lambda text: gzip.compress(text.encode()), "it is gzip-compressed; unpack it first"),
        (lambda text: text.encode().replace(b"text 3", b"text \xff"), "'utf-8' codec can't decode byte 0xff"),
        (lambda text: text.replace("text 3", r"text \ud800").encode(), r":4: field 'text' holds half a character"),
        (lambda text: text.replace('"label": "b"', r'"label": "\udc00"').encode(), r":2: field 'label' holds half"),
        (lambda text: text.replace('"text":', r'"\udc00": 1, "text":').encode(), r":1: field '\\udc00' holds half"),
    ],
)
def test_a_file_that_is_no_text_says_what_it_is(tmp_path: Path, changed: Callable[[str], bytes], said: str) -> None:
    path = _own(tmp_path, *map(_row, range(8)))
    path.write_bytes(changed(path.read_text()))
    with pytest.raises(TaskError, match=said) as told:
        load_texts("own", data=path)
    assert "\n" not in str(told.value)
    str(told.value).encode()


def test_a_public_set_without_its_file_says_how_to_name_it(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="--data"):
        load_texts("copa")
    with pytest.raises(TaskError, match="no such file"):
        load_texts("copa", data=tmp_path)


def test_the_error_for_a_wrong_tag_names_its_line(tmp_path: Path) -> None:
    for name in ("train", "devel", "test"):
        (tmp_path / f"ncbi_disease_{name}.tsv").write_text("a\tO\n\nb\tX-Disease\n")
    with pytest.raises(TaskError, match=r"ncbi_disease_test.tsv:3: label 'X-Disease' is none of O, B-Disease"):
        load_texts("ncbi", data=tmp_path)
