"""Known runs: rows of every kind are gathered, and of several directories of one run the furthest is chosen."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.constructions.config import OnMachine
from retrieval_gap.experiments.heads.config import HeadsConfig
from retrieval_gap.experiments.hotpotqa_llm.experiment import HotpotQARun
from retrieval_gap.experiments.probe import Probe
from retrieval_gap.experiments.transfer import Transfer
from retrieval_gap.llm.config import LLMConfig, ServerConfig
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, kinds
from retrieval_gap.runs.known import KnownRun, finished_rows, furthest, known_runs
from retrieval_gap.runs.perform import perform
from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig
from tests.experiments.hotpotqa_llm.questions import write_questions
from tests.experiments.memories.cells import cell
from tests.llm.embeddings.tiny import save
from tests.llm.scripted_server import ScriptedServer
from tests.training.test_loop import CONFIG


def one_of_every_kind(folder: Path, url: str) -> list[Experiment]:
    """Small experiments; the trained run comes first, as others are about it."""
    trained = replace(CONFIG, arch="lstm", samples=64, eval_samples=20)
    options = RunOptions(runs_dir=folder / "runs", threads=1)
    perform(trained, options)
    run = RunDirectory.of(trained, options.runs_dir).path
    heads = HeadsConfig(
        dataset="which_came_first", model=str(save("bert", folder / "bert")), head="mean", n=16, samples=16,
        test_samples=8, parameters=9000, lr="1e-3", steps=2, evaluate_every=1, batch_size=4,
    )  # fmt: skip
    questions = HotpotQARun(
        model=LLMConfig(model="small"),
        data=str(write_questions(folder / "questions.json", 2)),
        subset=SubsetConfig(n_paragraphs=4),
        server=ServerConfig(base_url=url),
    )
    return [
        trained,
        Probe(**Probe.named(run), samples=10, bits=(0, 1), ranks=()),
        Transfer(**Transfer.named(run), samples=10),
        OnMachine(machine="palindrome", how="hybrid", word="abba"),
        heads,
        cell(),
        questions,
    ]


def said(row: Row) -> list[tuple[str, str]]:
    """The nonempty values of a row, as text."""
    return sorted((name, str(value)) for name, value in row.items() if value not in (None, ""))


def test_the_rows_of_every_kind_are_written(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    runs = tmp_path / "runs"
    with ScriptedServer(lambda _: " So the answer is: Town 1.") as server:
        cells = one_of_every_kind(tmp_path, server.url)
        for each in cells:
            perform(each, RunOptions(runs_dir=runs, threads=1))
    assert {each.kind for each in cells} == set(kinds())
    words = ["results", "--runs-dir", str(runs), "--csv", str(tmp_path / "t.csv"), "--parquet", str(tmp_path / "t.pq")]
    assert main(words) == 0
    rows = finished_rows(known_runs(runs))
    with (tmp_path / "t.csv").open(newline="") as file:
        assert sorted(map(said, csv.DictReader(file))) == sorted(map(said, rows))
    table = parquet.ParquetFile(tmp_path / "t.pq").read()
    assert table.num_rows == len(rows)
    kept = {name: str(table.schema.field(name).type) for name in ("exact_match", "predictions", "theorem", "score")}
    assert kept == {"exact_match": "double", "predictions": "int64", "theorem": "string", "score": "double"}


@pytest.mark.parametrize("samples", [(100, 50_000), (50_000, 100), (0, 8), (8, 0)])
def test_of_two_partial_runs_the_one_with_more_samples_is_the_furthest(
    samples: tuple[int, int], tmp_path: Path
) -> None:
    known = [partial(tmp_path / str(place), count) for place, count in enumerate(samples)]
    assert furthest(known) == [known[samples.index(max(samples))]]


def test_status_comes_before_samples_and_of_equal_runs_the_first_is_taken(tmp_path: Path) -> None:
    known = [partial(tmp_path / name, 100) for name in ("here", "there", "elsewhere")]
    assert furthest(known) == known[:1]
    known[0].run.failure.write_text('{"reason": "the loss is nan"}')
    assert furthest(known) == known[1:2]
    known[2].run.result.write_text("{}")
    assert furthest(known) == known[2:]


def partial(folder: Path, samples: int) -> KnownRun:
    """A run that has reported `samples` samples; with 0, nothing yet."""
    run = RunDirectory.of(CONFIG, folder)
    run.create(CONFIG, {})
    if samples:
        run.metrics.write_text(json.dumps({"step": samples // 8, "samples": samples, "wall_s": 1.0}) + "\n")
    return KnownRun(run, CONFIG)
