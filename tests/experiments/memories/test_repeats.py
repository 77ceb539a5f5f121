"""The same steps count once, in whole series under several seeds and in windows that overlap."""

from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.memories.comparison import compared_rows
from retrieval_gap.experiments.memories.seeds import pooled_over_seeds
from retrieval_gap.llm.config import Price
from retrieval_gap.runs.experiment import Row
from tests.experiments.memories.cells import finished_in
from tests.real_data import real
from tests.tasks.streams.files import DAILY, MONTHLY, WEATHER_HEADER, weather_day, written

RUN = "memory run {} --model scripted:note_taker --method zero_shot,as_before --no-floors"


def rows_of(runs_dir: Path, against: str) -> list[Row]:
    found = finished_in(runs_dir)
    rows = compared_rows([*found, *pooled_over_seeds(found)], against, Price())
    return [row for row in rows if row["part"] == "all" and row["method"] == "zero_shot"]


def test_a_whole_series_under_several_seeds_is_one_stream(tmp_path: Path) -> None:
    command = f"{RUN.format('finance')} --data {real(MONTHLY)} --target direction --steps 0 --streams 1 --seed 0,1,2,3"
    assert main([*command.split(), "--runs-dir", str(tmp_path)]) == 0
    *single, pooled = rows_of(tmp_path, "as_before")
    assert [row["seed"] for row in (*single, pooled)] == [0, 1, 2, 3, "0 1 2 3"]
    for row in (*single, pooled):
        assert (row["predictions"], row["streams"]) == (single[0]["predictions"], 1)
        assert (row["p"], row.get("score_low"), row.get("difference_low")) == (None, None, None)
        assert row["mcnemar_step_p"] == single[0]["mcnemar_step_p"]
    assert "score_sd" not in pooled


def test_more_streams_than_the_data_can_give_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{RUN.format('finance')} --data {real(MONTHLY)} --steps 3000 --streams 3 --runs-dir {tmp_path}"
    assert main(command.split()) == 2
    assert "--streams 3: finance has 1 with these data and --steps 3000" in capsys.readouterr().err
    daily = f"{RUN.format('finance')} --data {real(DAILY)} --streams 40 --runs-dir {tmp_path}"
    few = len(f"{real(DAILY).read_text()}".splitlines()) - 10
    assert main(f"{daily} --steps {few}".split()) == 2
    told = capsys.readouterr().err
    assert "are the same (S&P 500 from" in told
    assert told.count("\n") == 1


def test_overlapping_windows_are_one_group_and_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [weather_day(day, "rain" if day % 3 else "sun") for day in range(1, 32)]
    path = written(tmp_path, "w.csv", WEATHER_HEADER, *lines)
    command = f"{RUN.format('weather')} --data {path} --steps 20 --streams 3 --runs-dir {tmp_path / 'runs'}"
    assert main(command.split()) == 0
    assert "weather, seed 0: 3 streams share steps: intervals and p take them as 1\n" in capsys.readouterr().out
    (row,) = rows_of(tmp_path / "runs", "as_before")
    assert (row["streams"], row["independent_streams"], row["p"]) == (3, 1, None)
    assert "score_low" not in row
