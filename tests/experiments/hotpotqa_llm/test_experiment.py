"""A model on HotpotQA is an experiment of the engine: it is hashed by its meaning, run, resumed, listed and packed."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.hotpotqa_llm.answers import find_done
from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun
from retrieval_gap.experiments.hotpotqa_llm.summary import COLUMNS
from retrieval_gap.llm.config import AskConfig, LLMConfig, LocalConfig, ServerConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions, experiment_class, read_experiment
from retrieval_gap.runs.perform import perform
from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig
from tests.experiments.hotpotqa_llm.questions import asked, write_questions
from tests.llm import tiny_models
from tests.llm.scripted_server import Said, ScriptedServer, prompt_of

FIRST_FORMAT = Path(__file__).parent / "fixtures" / "first_format"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_questions(tmp_path / "questions.json", 4)


def right(body: dict[str, Any]) -> Said:
    return f" So the answer is: Town {asked(body)[0]}."


def run_of(data: Path, url: str, **changes: Any) -> HotpotQARun:
    plain = HotpotQARun(
        model=LLMConfig(model="small"),
        data=str(data),
        subset=SubsetConfig(n_paragraphs=4),
        server=ServerConfig(base_url=url, backoff_s=0.01),
    )
    return dataclasses.replace(plain, **changes)


def test_the_engine_finds_the_kind_and_rebuilds_a_run_from_its_configuration(data: Path) -> None:
    run = run_of(data, "http://127.0.0.1:9/v1", method="regex", subset=SubsetConfig(n_paragraphs=6, order="3,5"))
    assert experiment_class("hotpotqa_llm") is HotpotQARun
    again = read_experiment(json.loads(json.dumps(run.to_json())), "config.json")
    assert (again, again.hash()) == (run, run.hash())
    assert run.label() == "small-regex-n6-3_5-plain-s0"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "cto"}, "did you mean 'cot'"),
        ({"metod": "cot"}, "did you mean 'method'"),
        ({"questions": True}, "questions = True"),
        ({"subset": {"n_paragraphs": 99}}, "n-paragraphs 99"),
        ({"model": {"model": "x", "nmae": "y"}}, "did you mean 'name'"),
        ({"model": "x"}, "expected an object"),
        ({"server": {"base_url": "ftp://x"}}, "not an address"),
        ({"ask": {"max_tokens": 0}}, "--max-tokens 0"),
    ],
)
def test_a_configuration_with_a_wrong_key_or_value_is_refused(changed: dict[str, Any], said: str, data: Path) -> None:
    value = json.loads(json.dumps(run_of(data, "").to_json())) | changed
    with pytest.raises(UsageError, match=r"^config\.json") as error:
        read_experiment(value, "config.json")
    assert said in str(error.value)


def test_the_hash_depends_only_on_settings_that_decide_the_answers(data: Path, tmp_path: Path) -> None:
    run = run_of(data, "http://127.0.0.1:9/v1")
    same: list[dict[str, Any]] = [
        {"server": ServerConfig(base_url="http://127.0.0.1:9/v1/", concurrency=2, tries=1)},
        {"local": LocalConfig(batch_size=2)},
        {"data": str(shutil.copy(data, tmp_path / "copy.json"))},
    ]
    assert {dataclasses.replace(run, **change).hash() for change in same} == {run.hash()}
    others: list[dict[str, Any]] = [
        {"server": ServerConfig(base_url="http://127.0.0.1:10/v1")},
        {"model": LLMConfig(model="small", name="another")},
        {"model": LLMConfig(model="small", api="chat")},
        {"method": "bm25"},
        {"ask": AskConfig(max_tokens=9)},
        {"subset": SubsetConfig(n_paragraphs=4, seed=1)},
        {"questions": 2},
        {"data": str(write_questions(tmp_path / "other.json", 3))},
    ]
    assert len({run.hash(), *(dataclasses.replace(run, **change).hash() for change in others)}) == len(others) + 1


def test_the_hash_of_a_local_model_depends_on_its_files_and_not_on_their_folder(data: Path, tmp_path: Path) -> None:
    here = tiny_models.save("llama", tmp_path / "here" / "tiny")
    there = Path(shutil.copytree(here, tmp_path / "there" / "tiny"))
    first, second = (
        run_of(data, "", model=LLMConfig(model=str(path)), server=ServerConfig()) for path in (here, there)
    )
    before = first.hash()
    assert second.hash() == before
    weights = there / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    assert second.hash() != before
    with pytest.raises(UsageError, match="no such folder"):
        run_of(data, "", model=LLMConfig(model=str(tmp_path / "nothing")), server=ServerConfig()).validate()


def test_a_run_is_done_once_and_its_row_has_the_columns_of_the_table(data: Path, tmp_path: Path) -> None:
    with ScriptedServer(right) as server:
        run, options = run_of(data, server.url), RunOptions(runs_dir=tmp_path / "runs")
        (row,) = perform(run, options)
        assert perform(run, options) == [row]
        assert len(server.asked) == 4
    assert set(row) == set(COLUMNS)
    assert (row["exact_match"], row["questions"], row["selected"], row["cell"]) == (1.0, 4, 0, run.hash())
    directory = RunDirectory.of(run, tmp_path / "runs")
    assert (directory.status(), run.progress(directory).done, run.progress(directory).unit) == ("done", 4, "questions")


def test_a_run_killed_before_its_result_repeats_no_request(data: Path, tmp_path: Path) -> None:
    with ScriptedServer(right) as server:
        run, options = run_of(data, server.url), RunOptions(runs_dir=tmp_path / "runs")
        first = perform(run, options)
        directory = RunDirectory.of(run, tmp_path / "runs")
        directory.result.unlink()  # killed between the answers and the result
        assert perform(run, options) == first
        directory.result.unlink()
        (directory.path / "answers.jsonl").unlink()  # or before the answers: all replies are cached
        assert perform(run, options) == first
        assert len(server.asked) == 4


def test_a_users_grid_of_runs_is_swept_listed_and_packed(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(right) as server:
        (tmp_path / "grid.py").write_text(
            f"""from retrieval_gap.experiments.hotpotqa_llm import EXPERIMENT
from retrieval_gap.llm.config import LLMConfig, ServerConfig
from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig

def cells():
    for n in (2, 4):
        yield EXPERIMENT(model=LLMConfig(model="small"), data={str(data)!r}, subset=SubsetConfig(n_paragraphs=n),
                         server=ServerConfig(base_url={server.url!r}))
"""
        )
        runs = ["--runs-dir", str(tmp_path / "runs")]
        grid = ["sweep", str(tmp_path / "grid.py"), *runs, "--device", "cpu", "--workers", "1"]
        assert main([*grid, "--only", "n=2"]) == 0
        assert main([*grid, "--csv", str(tmp_path / "t.csv")]) == 0
        assert len(server.asked) == len({prompt_of(body) for body in server.asked}) == 8
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 3
    assert main(["results", *runs]) == 0
    assert "2 done" in capsys.readouterr().out
    pack = str(tmp_path / "runs.tar")
    assert main(["runs", "pack", pack, *runs]) == 0
    assert main(["runs", "unpack", pack, "--runs-dir", str(tmp_path / "there")]) == 0
    assert main(["pretrained", "table", "--out-dir", str(tmp_path / "there")]) == 0
    assert "selected 4 of 4" in capsys.readouterr().out


@pytest.mark.parametrize("changed", [{"exact_match": 9.4}, {"model": "other"}, {"n_paragraphs": 2}, {"f1": "x"}])
def test_a_row_changed_on_disk_is_refused(changed: dict[str, Any], data: Path, tmp_path: Path) -> None:
    with ScriptedServer(right) as server:
        run, options = run_of(data, server.url), RunOptions(runs_dir=tmp_path / "runs")
        (row,) = perform(run, options)
    result = RunDirectory.of(run, tmp_path / "runs").result
    result.write_text(json.dumps(row | changed))
    with pytest.raises(RunError, match=next(iter(changed))):
        perform(run, options)


def test_answers_from_before_run_directories_make_the_same_table(tmp_path: Path) -> None:
    assert main(["pretrained", "table", "--out-dir", str(FIRST_FORMAT), "--csv", str(tmp_path / "table.csv")]) == 0
    assert (tmp_path / "table.csv").read_text() == (FIRST_FORMAT / "table.csv").read_text()


def test_answers_in_a_run_directory_replace_the_same_ones_in_the_first_format(tmp_path: Path) -> None:
    for path in FIRST_FORMAT.glob("*.jsonl"):
        shutil.copy(path, tmp_path)
        (tmp_path / "made-again-0123456789ab").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "made-again-0123456789ab" / "answers.jsonl")
    found = find_done(tmp_path, [])
    assert len(found) == 2
    assert sorted(done.path.name == "answers.jsonl" for done in found) == [False, True]


def test_another_model_at_a_finished_runs_address_is_reported_and_not_mistaken_for_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(right, root="/weights/a") as server:
        line = ["pretrained", "hotpotqa", "--model", "small", "--base-url", server.url, "--data", str(data)]
        line += ["--n-paragraphs", "2", "--out-dir", str(tmp_path / "out")]
        assert main(line) == 0
        server.entry = {"root": "/weights/b"}
        capsys.readouterr()
        assert main(line) == 1
        assert "was answered by another model" in capsys.readouterr().err
        assert main([*line, "--name", "b"]) == 0
        assert len(server.asked) == 8


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\u0085", "\x0b", "\x1c"])
def test_unicode_line_separators_in_an_answer_do_not_break_the_table(odd: str, data: Path, tmp_path: Path) -> None:
    with ScriptedServer(lambda body: f" It{odd}is. So the answer is: Town {asked(body)[0]}") as server:
        line = ["pretrained", "hotpotqa", "--model", "small", "--base-url", server.url, "--data", str(data)]
        assert main([*line, "--n-paragraphs", "2", "--out-dir", str(tmp_path / "out")]) == 0
    assert main(["pretrained", "table", "--out-dir", str(tmp_path / "out"), "--csv", str(tmp_path / "t.csv")]) == 0
    assert len((tmp_path / "t.csv").read_text().split("\n")) == 4


def test_several_models_are_swept_at_once_and_two_of_one_name_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(right, models=("a", "b")) as server:
        line = ["pretrained", "hotpotqa", "--base-url", server.url, "--data", str(data), "--n-paragraphs", "2"]
        line += ["--device", "cpu", "--out-dir", str(tmp_path / "out"), "--sweep"]
        assert main([*line, "--model", "x/a,y/a"]) == 2
        assert "two models have the same name" in capsys.readouterr().err
        assert main([*line, "--model", "a,b"]) == 0
        assert {body["model"] for body in server.asked} == {"a", "b"}
    assert len(find_done(tmp_path / "out", [])) == 2
