"""A run chooses its device, each worker sees only its own GPU, and a missing GPU is a clear error."""

import os
from collections.abc import Sequence
from multiprocessing import Pipe
from pathlib import Path

import pytest
import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.devices import CPU, choose_device, is_out_of_memory, visible_gpus, worker_places
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.executors import cells, local
from retrieval_gap.runs.executors.cells import SweepOutcome, run_cells
from retrieval_gap.runs.executors.local import LocalPool
from retrieval_gap.runs.experiment import RunOptions
from tests.runs.test_sweep import CELLS

without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@without_gpu
def test_without_a_gpu_auto_is_the_cpu_and_cuda_an_error() -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(UsageError, match="torch finds no GPU"):
        choose_device("cuda")
    assert visible_gpus("auto", None) == []


def test_with_a_gpu_auto_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("visible", "count", "expected"),
    [(None, 2, ["0", "1"]), ("", 1, ["0"]), ("3,1", 2, ["3", "1"]), ("GPU-a1,GPU-b2,GPU-c3", 2, ["GPU-a1", "GPU-b2"])],
)
def test_gpus_keep_the_names_that_the_driver_was_given(
    visible: str | None, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_gpus("auto", visible) == expected
    assert visible_gpus("cpu", visible) == []


def test_every_gpu_gets_a_worker_before_any_gets_a_second() -> None:
    assert worker_places(["0", "1"], workers=0, per_gpu=0, cores=16) == ["0", "1"]
    assert worker_places(["0", "1"], workers=0, per_gpu=3, cores=16) == ["0", "1", "0", "1", "0", "1"]
    assert worker_places([], workers=0, per_gpu=0, cores=3) == ["", "", ""]
    assert worker_places([], workers=2, per_gpu=0, cores=16) == ["", ""]


def test_a_worker_count_for_the_other_kind_of_machine_is_an_error() -> None:
    with pytest.raises(UsageError, match="--workers counts processes on the CPU"):
        worker_places(["0"], workers=2, per_gpu=0, cores=16)
    with pytest.raises(UsageError, match="--per-gpu needs a GPU"):
        worker_places([], workers=0, per_gpu=2, cores=16)


def test_running_out_of_memory_is_recognised_even_if_another_error_follows() -> None:
    def end_a_capture_early() -> None:
        """As in torch: the end of the capture fails while the first error is being raised."""
        try:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        finally:
            raise RuntimeError("the capture was invalidated")

    with pytest.raises(RuntimeError, match="invalidated") as told:
        end_a_capture_early()
    assert is_out_of_memory(told.value)
    assert not is_out_of_memory(RuntimeError("the capture was invalidated"))


def test_the_place_of_a_worker_that_ended_goes_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Ended:
        exitcode, sentinel, pid = 0, 0, None

        def is_alive(self) -> bool:
            return len(alive) > 1 and self in alive

    alive, given = list[Ended](), list[str]()

    def start(context: object, config: RunConfig, run: object, options: RunOptions, place: str, tell: object) -> Ended:
        given.append(place)
        alive.append(Ended())
        return alive[-1]

    def wait(sentinels: Sequence[int], timeout: float) -> None:
        alive.pop()  # the last that started ends first

    monkeypatch.setattr(local, "_start", start)
    monkeypatch.setattr(local, "wait", wait)
    pool = LocalPool(RunOptions(runs_dir=tmp_path), ["0", "1", "0"])
    list(run_cells(CELLS, pool, tmp_path, seconds=0, outcome=SweepOutcome()))
    assert given == ["0", "1", "0", "0"]


def test_a_worker_sees_the_gpu_of_its_place_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = list[tuple[str, str]]()

    def perform(cell: RunConfig, options: RunOptions) -> None:
        seen.append((os.environ["CUDA_VISIBLE_DEVICES"], options.device))

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    monkeypatch.setattr(local, "_keep_errors_of", lambda *_: None)
    monkeypatch.setattr(cells, "perform", perform)
    for place in ("6", ""):
        told, tell = Pipe(duplex=False)
        local._work(CELLS[0], RunDirectory.of(CELLS[0], tmp_path), RunOptions(runs_dir=tmp_path), place, tell)
        told.close()
    assert seen == [("6", "cuda"), ("", "cpu")]
