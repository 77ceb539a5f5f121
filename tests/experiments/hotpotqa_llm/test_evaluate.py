"""HotpotQA is evaluated from questions to table on a server with known answers; killed, resumed, misused."""

import csv
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.tasks.hotpotqa.data.records import read_questions
from tests.experiments.hotpotqa_llm.questions import QUESTIONS, asked, record, write_questions
from tests.llm import tiny_models
from tests.llm.scripted_server import Fault, Said, ScriptedServer, prompt_of
from tests.tasks.hotpotqa.data import real_file

# The questions that each model gets wrong, by number of passages.
WRONG = {
    "strong": {2: {0}, 4: set(range(6)), 8: set(range(12))},
    "weak": {2: {1, 2}, 4: set(range(9)), 8: set(range(18))},
}
SELECTED = QUESTIONS - 3
KEY = "sk-not-to-be-seen"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.json")


def knowing(body: dict[str, Any]) -> Said:
    """Right except for `WRONG`: there "strong" names another town, which shares a word, and "weak" gives no answer."""
    number, passages = asked(body)
    if number not in WRONG[body["model"]][passages]:
        return f" They say so. So the answer is: Town {number}."
    return " So the answer is: Town 99." if body["model"] == "strong" else " I do not know."


def evaluate(server: ScriptedServer, data: Path, model: str, *more: str) -> int:
    line = ["pretrained", "hotpotqa", "--model", model, "--base-url", server.url, "--data", str(data)]
    return main([*line, "--n-paragraphs", "2,4,8", "--out-dir", str(data.parent / "out"), *more])


def table(data: Path, *more: str) -> list[dict[str, str]]:
    path = data.parent / "table.csv"
    assert main(["pretrained", "table", "--out-dir", str(data.parent / "out"), "--csv", str(path), *more]) == 0
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def cell(rows: list[dict[str, str]], model: str, n: int, *, selected: int = 0, **more: str) -> dict[str, str]:
    wanted = {"model": model, "n_paragraphs": str(n), "selected": str(selected), **more}
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


def test_the_table_has_the_models_scores_with_and_without_the_papers_selection(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(knowing, models=("strong", "weak")) as server:
        for model in WRONG:
            assert evaluate(server, data, model, "--order", "random,last") == 0
    capsys.readouterr()
    rows = table(data)
    assert f"selected {SELECTED} of {QUESTIONS} questions" in capsys.readouterr().out
    assert len(rows) == 2 * 3 * 2 * 2  # models, n, orders, selected or not
    for order in ("random", "last"):
        for model, wrong in WRONG.items():
            for n, missed in wrong.items():
                row = cell(rows, model, n, order=order, method="cot")
                right = QUESTIONS - len(missed)
                assert float(row["exact_match"]) == pytest.approx(right / QUESTIONS)
                half = len(missed) / 2 if model == "strong" else 0
                assert float(row["f1"]) == pytest.approx((right + half) / QUESTIONS)
                low, high = wilson_interval(right / QUESTIONS, QUESTIONS)
                assert (float(row["low"]), float(row["high"])) == pytest.approx((low, high))
                assert int(row["undecided"]) == (0 if model == "strong" else len(missed))
                chosen = cell(rows, model, n, selected=1, order=order)
                assert int(chosen["questions"]) == SELECTED
                among = len(missed - {0, 1, 2})
                assert float(chosen["exact_match"]) == pytest.approx(1 - among / SELECTED)
    alone = cell(table(data, "--models", "weak"), "weak", 2, selected=1, order="last")
    assert (alone["questions"], alone["exact_match"]) == (str(QUESTIONS - 2), "1.0")


def test_a_second_run_asks_nothing_and_another_cell_asks_only_new_prompts(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(knowing, models=("strong",)) as server:
        assert evaluate(server, data, "strong") == 0
        first = capsys.readouterr().out
        assert len(server.asked) == 3 * QUESTIONS
        assert evaluate(server, data, "strong") == 0
        told = capsys.readouterr()
        assert (told.out, "0 requests to the model" in told.err) == (first, True)
        assert evaluate(server, data, "strong", "--order", "last") == 0
        # at n = 2 both orders give the same prompts, which are cached; at n = 4 some are the same by chance
        assert 4 * QUESTIONS < len(server.asked) <= 5 * QUESTIONS
        assert len(server.asked) == len({prompt_of(body) for body in server.asked})
        forget_runs(data.parent / "out")
        assert evaluate(server, data, "strong") == 0
        assert len(server.asked) <= 5 * QUESTIONS


def test_a_question_that_is_too_long_is_in_no_score_and_in_no_selection(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def limited(body: dict[str, Any]) -> Said:
        if asked(body) == (20, 8) and body["model"] == "weak":
            return Fault(status=400, told="maximum context length is 2048 tokens")
        return knowing(body)

    with ScriptedServer(limited, models=("strong", "weak")) as server:
        for model in WRONG:
            assert evaluate(server, data, model) == 0
    rows = table(data)
    assert f"selected {SELECTED} of {QUESTIONS}" in capsys.readouterr().out
    row = cell(rows, "weak", 8)
    assert (row["questions"], row["too_long"]) == (str(QUESTIONS - 1), "1")
    assert float(row["exact_match"]) == pytest.approx(5 / (QUESTIONS - 1))
    assert {row["questions"] for row in rows if row["selected"] == "1"} == {str(SELECTED - 1)}


def test_a_question_with_too_few_paragraphs_for_some_n_is_in_no_selection(data: Path) -> None:
    records = json.loads(data.read_text())
    records[23] = record(23, distractors=3)
    data.write_text(json.dumps(records))
    with ScriptedServer(knowing, models=("strong",)) as server:
        assert evaluate(server, data, "strong") == 0
        assert evaluate(server, data, "strong", "--n-paragraphs", "2", "--method", "bm25") == 0
    rows = table(data)
    assert cell(rows, "strong", 2, selected=1, method="bm25")["questions"] == str(QUESTIONS - 1)
    rows = [row for row in rows if row["method"] == "cot"]
    assert [cell(rows, "strong", n)["questions"] for n in (2, 4, 8)] == [str(QUESTIONS)] * 2 + [str(QUESTIONS - 1)]
    assert {row["questions"] for row in rows if row["selected"] == "1"} == {str(QUESTIONS - 2)}


def searching(body: dict[str, Any]) -> Said:
    """Knows nothing by heart: it searches, then answers with what its last search found."""
    _, _, written = prompt_of(body).rpartition("\nAnswer:")
    number, _ = asked(body)
    found = written.split("[ENDSEARCH] ")[1:]
    if "[ENDSEARCH]" not in body["stop"]:
        return " So the answer is: Town 99."
    if not found:
        return f" [STARTSEARCH] Club {number} plays.*founded by (Person \\d+) [ENDSEARCH] made up\nSo the answer is: A."
    if len(found) == 1:
        return f"[STARTSEARCH] {found[0].strip()} was born in ([^.]+)"
    return f"So the answer is: {found[1].strip()}."


def test_searches_are_executed_while_the_model_answers(data: Path) -> None:
    with ScriptedServer(searching, models=("seeker",)) as server:
        assert evaluate(server, data, "seeker", "--method", "cot,regex") == 0
    rows = table(data)
    assert {row["exact_match"] for row in rows if row["method"] == "regex"} == {"1.0"}
    assert {row["exact_match"] for row in rows if row["method"] == "cot"} == {"0.0"}
    row = cell(rows, "seeker", 8, method="regex")
    assert (float(row["searches"]), float(row["failed_searches"])) == (2, 0)


def test_bm25_shows_the_model_the_paragraphs_that_it_ranks_highest(data: Path) -> None:
    with ScriptedServer(knowing, models=("strong",)) as server:
        assert evaluate(server, data, "strong", "--method", "bm25,cot") == 0
        shown = Counter(asked(body)[1] for body in server.asked)
    assert shown[2] >= QUESTIONS
    rows = table(data)
    row = cell(rows, "strong", 8, method="bm25")
    # two of eight are shown, the question's club among them: at least half of the gold ones
    assert row["top_k"] == "2"
    assert 0.5 <= float(row["gold_kept"]) <= 1
    assert float(row["exact_match"]) == pytest.approx(1 - 1 / QUESTIONS)
    assert float(cell(rows, "strong", 8, method="cot")["exact_match"]) == pytest.approx(0.5)


def forget_runs(out: Path) -> None:
    """Deletes the runs and keeps the cache."""
    for path in out.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def replies_in(path: Path) -> int:
    if not path.exists():
        return 0
    with sqlite3.connect(path) as database:
        found: int = database.execute("SELECT count(*) FROM replies").fetchone()[0]
    database.close()
    return found


def wait_until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@pytest.mark.faults
def test_a_killed_client_resumes_and_repeats_no_request_that_was_answered(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answered_first = 17

    def pausing(body: dict[str, Any]) -> Said:
        """Answers some requests, then none until it is let go; those that wait are never answered."""
        if not server.let_go.is_set() and len(server.asked) > answered_first:
            return Fault(silent=True)
        return knowing(body)

    out = data.parent / "out"
    with ScriptedServer(pausing, models=("strong",)) as server:
        line = ["pretrained", "hotpotqa", "--model", "strong", "--base-url", server.url, "--data", str(data)]
        line += ["--n-paragraphs", "2,4,8", "--out-dir", str(out), "--concurrency", "4"]
        with subprocess.Popen([sys.executable, "-m", "retrieval_gap.cli", *line], stderr=subprocess.DEVNULL) as client:
            wait_until(lambda: client.poll() is not None or len(server.asked) == answered_first + 4)
            wait_until(lambda: client.poll() is not None or replies_in(out / "replies.sqlite") == answered_first)
            client.kill()
            assert client.wait() == -signal.SIGKILL
        assert not list(out.glob("*/answers.jsonl"))
        assert len(server.answered) == answered_first
        server.let_go.set()
        assert main(line) == 0
        assert f"{3 * QUESTIONS - answered_first} requests to the model" in capsys.readouterr().err
        answered = Counter(prompt_of(body) for body in server.answered)
        assert len(answered) == 3 * QUESTIONS
        assert set(answered.values()) == {1}
    rows = table(data)
    for n, wrong in WRONG["strong"].items():
        assert float(cell(rows, "strong", n)["exact_match"]) == pytest.approx(1 - len(wrong) / QUESTIONS)


def test_no_answer_is_lost_if_the_server_fails_midway(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = True

    def failing(body: dict[str, Any]) -> Said:
        return Fault(status=500, told="out of order") if broken and asked(body)[0] % 2 else knowing(body)

    with ScriptedServer(failing, models=("strong",)) as server:
        flags = ("--tries", "1", "--concurrency", "1")
        assert evaluate(server, data, "strong", *flags) == 1
        told = capsys.readouterr().err
        assert "12 of 24 requests failed" in told
        assert not list((data.parent / "out").glob("*/answers.jsonl"))
        broken = False
        assert evaluate(server, data, "strong", *flags) == 0
        assert len(server.answered) == 3 * QUESTIONS


def test_keys_come_from_the_environment_and_are_written_nowhere(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with ScriptedServer(knowing, models=("strong",)) as server:
        assert evaluate(server, data, "strong", "--api-key-env", "MY_KEY", "--price-read", "1") == 0
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    told = capsys.readouterr()
    assert "dollars" in told.err
    assert KEY not in told.out + told.err
    for path in data.parent.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_local_model_is_evaluated_like_a_server(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tiny_models.save("mamba", tmp_path / "tiny")
    line = ["pretrained", "hotpotqa", "--model", str(model), "--data", str(data), "--questions", "2"]
    line += ["--n-paragraphs", "2,4", "--max-tokens", "4", "--device", "cpu", "--out-dir", str(data.parent / "out")]
    assert main([*line, "--name", "a tiny Mamba", "--method", "cot,regex,bm25"]) == 0
    told = capsys.readouterr()
    assert "8 requests to the model" in told.err  # bm25 keeps both of two paragraphs, which cot has asked about
    assert "4 answered from the cache" in told.err
    rows = table(data)
    assert {row["model"] for row in rows} == {"a tiny Mamba"}
    assert {row["precision"] for row in rows} == {"fp32"}
    assert {row["questions"] for row in rows} == {"2"}
    assert main([*line, "--name", "a tiny Mamba", "--method", "cot,regex,bm25"]) == 0
    assert "0 requests to the model" in capsys.readouterr().err


def test_a_dry_run_shows_the_first_prompt_and_needs_no_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["pretrained", "hotpotqa", "--model", "any", "--data", str(data), "--out-dir", str(data.parent / "out")]
    assert main([*line, "--order", "first,2,4", "--n-paragraphs", "4", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert f"cot, n = 4, first, plain: {QUESTIONS} questions" in told
    assert "cot, n = 4, 2,4, plain" in told
    assert told.endswith("Question: Where was the founder of Club 0 born?\nAnswer:\n")
    assert not (data.parent / "out").exists()


def test_real_questions_are_asked_with_all_their_paragraphs(tmp_path: Path) -> None:
    data = real_file("hard_a_300.jsonl")
    asked_about: list[str] = []

    def yes(body: dict[str, Any]) -> Said:
        asked_about.append(prompt_of(body).rpartition("Passages:\n")[2])
        return " So the answer is: yes."

    with ScriptedServer(yes, models=("yes",)) as server:
        line = ["pretrained", "hotpotqa", "--model", "yes", "--base-url", server.url, "--data", str(data)]
        assert main([*line, "--n-paragraphs", "8", "--questions", "40", "--out-dir", str(tmp_path / "out")]) == 0
    first = [question for question in read_questions(data).kept[:40] if len(question.paragraphs) >= 8]
    questions = {question.question: question for question in first}
    assert len(asked_about) == len(questions)
    for text in asked_about:
        (question,) = [questions[name] for name in questions if f"\nQuestion: {name}\nAnswer:" in text]
        for title in question.gold_titles:
            assert re.search(rf"^\[\d\] {re.escape(title)}: ", text, re.M)
        assert len(re.findall(r"^\[\d\] ", text, re.M)) == 8
    (path,) = (tmp_path / "out").glob("*/answers.jsonl")
    right = sum(json.loads(line)["exact_match"] for line in path.read_text().splitlines()[1:])
    assert right == sum(question.answer == "yes" for question in questions.values())


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--model x --base-url http://127.0.0.1:9/v1", 1, "no server answers at http://127.0.0.1:9/v1"),
        ("--model x --base-url 127.0.0.1:9", 2, "not an address"),
        ("--model /no/such/folder", 2, "no such folder"),
        ("--model x --method cto", 2, "did you mean 'cot'"),
        ("--model x --order lst", 2, "--order 'lst'"),
        ("--model x --order random,,last", 2, "not a list such as"),
        ("--model x --order 3,7 --n-paragraphs 4", 2, "--order 3,7"),
        ("--model x --n-paragraphs 1", 2, "--n-paragraphs 1"),
        ("--model x --n-paragraphs 2,x", 2, "--n-paragraphs 2,x"),
        ("--model x --questions -1", 2, "--questions -1"),
        ("--model x --max-tokens 0", 2, "--max-tokens 0"),
        ("--model x --concurrency 0", 2, "--concurrency 0"),
        ("--model x --price-read nan", 2, "--price-read nan"),
        ("--model x --data nothing.json", 2, "no such data file"),
        ("--data x.json", 2, "--model"),
    ],
)
def test_wrong_use_is_one_line(
    words: str, status: int, said: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(data)] if "--data" not in words else []
    assert main(["pretrained", "hotpotqa", *words.split(), *given, "--out-dir", str(data.parent / "out")]) == status
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (data.parent / "out").exists()


def test_a_missing_package_is_named_with_the_extra_that_installs_it(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    for name in [name for name in sys.modules if name.startswith("retrieval_gap.llm.server")]:
        monkeypatch.delitem(sys.modules, name)
    line = ["pretrained", "hotpotqa", "--model", "x", "--data", str(data), "--out-dir", str(data.parent / "out")]
    assert main([*line, "--base-url", "http://127.0.0.1:9"]) == 1
    assert "httpx2 is not installed: pip install 'retrieval-gap[pretrained]'" in capsys.readouterr().err


def test_answers_that_cannot_be_compared_are_reported_instead_of_tabulated(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "out"
    assert main(["pretrained", "table", "--out-dir", str(out)]) == 2
    with ScriptedServer(knowing, models=("strong",)) as server:
        assert evaluate(server, data, "strong") == 0
        assert main(["pretrained", "table", "--out-dir", str(out), "--models", "stron"]) == 2
        assert "did you mean 'strong'" in capsys.readouterr().err
        assert evaluate(server, data, "strong", "--max-tokens", "9") == 0
        capsys.readouterr()
        assert main(["pretrained", "table", "--out-dir", str(out)]) == 1
        assert "are the same cell, asked differently" in capsys.readouterr().err
        forget_runs(out)
        assert evaluate(server, data, "strong", "--method", "bm25") == 0
    capsys.readouterr()
    assert main(["pretrained", "table", "--out-dir", str(out)]) == 0
    assert "no selection of 24 questions: strong has no answers by cot at n = 2" in capsys.readouterr().out
    (out / "odd.jsonl").write_text(json.dumps({"cell": {}}))
    assert main(["pretrained", "table", "--out-dir", str(out)]) == 1
    assert "odd.jsonl holds no answers" in capsys.readouterr().err
