"""Ranks that share every batch reach the losses and weights of one process; any number of ranks resumes a run."""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from retrieval_gap.cli import main
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.paces import measured_runs
from retrieval_gap.machine.devices import CPU
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.training.batches import pad, training_batches
from retrieval_gap.training.checkpoint import TrainingProgress, read_checkpoint
from retrieval_gap.training.ranks import Place, Ranks, joined, place_of_environment
from retrieval_gap.training.step import DeviceStep, HostStep
from tests.training.runs import execute, run_ranked

# Samples have very different numbers of graded tokens, so a mean of the ranks' means is not the mean of the batch; and
# 3 ranks cannot share the batch evenly.
CONFIG = RunConfig(
    task="istree",
    mode="rag",
    n=6,
    arch="mamba",
    size="tiny",
    embedding="learned",
    samples=400,
    batch_size=8,
    lr=3e-3,
    warmup_samples=40,
    max_grad_norm=0.5,
    eval_samples=10,
)
SMALL = replace(CONFIG, arch="lstm", mode="cot")
LONG = replace(CONFIG, samples=8_000)


WORDS = "train --task istree --mode rag --n 6 --arch mamba --size tiny --embedding learned --batch-size 8".split()
WORDS += "--lr 3e-3 --warmup-samples 40 --max-grad-norm 0.5 --eval-samples 10 --threads 1 --device cpu".split()
WORDS += ["--keep-weights"]


def ranked(config: RunConfig, runs_dir: Path, count: int) -> RunDirectory:
    run_ranked(config, runs_dir, count)
    return RunDirectory.of(config, runs_dir)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return ranked(CONFIG, tmp_path_factory.mktemp("alone"), 1)


def losses(run: RunDirectory) -> list[float]:
    return [report["loss"] for report in run.reports()]


def assert_close(ours: RunDirectory, theirs: RunDirectory, atol: float) -> None:
    other = load_file(theirs.checkpoint)
    for name, tensor in load_file(ours.checkpoint).items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=atol)


@pytest.mark.faults
@pytest.mark.parametrize("count", [2, 3])
def test_ranks_reach_the_losses_and_weights_of_one_process(count: int, alone: RunDirectory, tmp_path: Path) -> None:
    run = ranked(CONFIG, tmp_path, count)
    assert len(losses(run)) == 50
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)
    assert_close(run, alone, atol=1e-4)
    padding, other = (told.reports()[-1]["padding"] for told in (run, alone))
    assert 0 < padding <= other  # a share is padded to its own longest sample
    assert json.loads((run.path / "environment.jsonl").read_text())["ranks"] == count
    assert run.rows()[0]["hardware"].endswith(f", {count} ranks")
    assert not measured_runs(tmp_path)  # the pace of several ranks says nothing about one


@contextmanager
def signalled(number: int, find: Callable[[], int | None]) -> Iterator[None]:
    """Sends a signal to the process that `find` names, as soon as it names one."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if (process := find()) is not None:
                os.kill(process, number)
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def after_reports(run: RunDirectory, count: int, process: Callable[[], int]) -> Callable[[], int | None]:
    return lambda: process() if len(run.reports()) >= count else None


@pytest.mark.faults
@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
def test_another_number_of_ranks_resumes_a_run(first: int, second: int, alone: RunDirectory, tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    with (
        signalled(signal.SIGTERM, after_reports(run, 2, os.getpid)),
        pytest.raises(StoppedError, match=r"stopped at sample \d+ of 400; the same command resumes"),
    ):
        ranked(CONFIG, tmp_path, first)
    assert (run.status(), 2 <= len(run.reports()) < 50) == ("partial", True)
    progress, _ = read_checkpoint(run.checkpoint)
    assert progress.step - len(run.reports()) in (0, 1, -1)
    ranked(CONFIG, tmp_path, second)
    assert [report["step"] for report in run.reports()] == list(range(1, 51))
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)
    assert_close(run, alone, atol=1e-4)


@pytest.mark.faults
def test_a_killed_rank_ends_all_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory.of(LONG, tmp_path)

    def second_rank() -> int:
        return next(child.pid for child in multiprocessing.active_children() if child.name == "rank 1")

    with signalled(signal.SIGKILL, after_reports(run, 1, second_rank)):
        assert main([*WORDS, "--samples", "8000", "--ranks", "3", "--runs-dir", str(tmp_path)]) == 1
    told = [line for line in capfd.readouterr().err.splitlines() if "samples/s" not in line]
    assert told == [
        "retrieval-gap: rank 1 of 3 was ended by SIGKILL, and the others with it;"
        " the same command resumes from the last checkpoint"
    ]
    assert not multiprocessing.active_children()
    assert run.status() == "partial"


@pytest.mark.faults
def test_all_ranks_end_alike_on_divergence_on_a_closed_folder_and_on_a_finished_run(
    tmp_path: Path,
) -> None:
    config = replace(CONFIG, lr=1e25, arch="lstm")
    with pytest.raises(RunError, match=r"the (loss|gradient's norm) is (nan|inf) at step \d+"):
        ranked(config, tmp_path, 2)
    assert RunDirectory.of(config, tmp_path).status() == "failed"
    with pytest.raises(RunError, match="failed before"):
        ranked(config, tmp_path, 2)
    with pytest.raises(UsageError, match=r"/proc/nowhere.* cannot be written to"):  # which only rank 0 notices
        ranked(CONFIG, Path("/proc/nowhere"), 2)
    done = replace(CONFIG, mode="direct", arch="lstm", samples=16, warmup_samples=8)
    row = execute(done, tmp_path)
    assert ranked(done, tmp_path, 2).rows()[0] == row


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_the_shares_of_the_ranks_make_up_the_batch(count: int) -> None:
    task, training = CONFIG.build_task("train"), CONFIG.training()
    whole = next(training_batches(task, training, 7, CPU))
    shares = [Ranks(Place(rank=rank, count=count)).share(8) for rank in range(count)]
    drawn = [next(training_batches(task, training, 7, CPU, share)) for share in shares]
    assert sum(batch.tokens for batch in drawn) == whole.tokens
    rows = [pad(batch.tokens_BxL.numpy(), whole.tokens_BxL.shape[1]) for batch in drawn]
    assert torch.equal(torch.cat(rows), whole.tokens_BxL)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def together(work: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[int | None]:
    """The exit statuses of processes that do `work` side by side."""
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=work, args=some) for some in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def device_step_losses(place: Place, port: int, folder: Path) -> None:
    """Takes the steps of a GPU on the share of one rank, and writes the sum of the losses and the weights."""
    with joined(place, CPU, dist.TCPStore("127.0.0.1", port, is_master=False)) as ranks:
        ranks.begin()
        task, training = SMALL.build_task("train"), SMALL.training()
        model = SequenceModel(SMALL.model(len(task.vocabulary)))
        step = DeviceStep(model, training, task.max_length, ranks)
        step.micro_batch = 2
        step.start(ranks.start_together(TrainingProgress(), model.trained_parameters(), step.optimizer))
        for batch in islice(training_batches(task, training, 0, CPU, ranks.share(8)), 4):
            step(batch)
        tensors = {name: p.detach() for name, p in model.trained_parameters().items()}
        save_file(tensors | {"loss": torch.tensor(step.loss_sum())}, folder / f"{place.rank}.safetensors")


@pytest.mark.faults
def test_ranks_share_the_step_of_a_gpu_too(tmp_path: Path) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    places = [Place(rank=rank, count=2, local_rank=rank, local_count=2) for rank in range(2)]
    assert together(device_step_losses, [(place, store.port, tmp_path) for place in places]) == [0, 0]
    task, training = SMALL.build_task("train"), SMALL.training()
    model = SequenceModel(SMALL.model(len(task.vocabulary)))
    step = HostStep(model, training)
    for batch in islice(training_batches(task, training, 0, CPU), 4):
        step(batch)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert float(first["loss"]) == pytest.approx(step.loss_sum(), rel=1e-6)
    for name, parameter in model.trained_parameters().items():
        assert torch.equal(first[name], second[name])  # or they would drift apart
        torch.testing.assert_close(first[name], parameter.detach(), rtol=0, atol=2e-5)


def as_torchrun_starts_it(rank: int, port: int, words: list[str]) -> None:
    """Runs a command as one rank, with the environment that torchrun sets."""
    given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in given.items()} | {"MASTER_ADDR": "127.0.0.1"}
    sys.exit(main(words))


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@pytest.mark.faults
def test_ranks_started_as_torchrun_does_reach_the_losses_of_one_process(alone: RunDirectory, tmp_path: Path) -> None:
    words, port = [*WORDS, "--samples", "400", "--runs-dir", str(tmp_path)], free_port()
    assert together(as_torchrun_starts_it, [(rank, port, words) for rank in range(2)]) == [0, 0]
    run = RunDirectory.of(CONFIG, tmp_path)
    assert run.rows()[0]["hardware"].endswith(", 2 ranks")
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)


@pytest.mark.slow
def test_torchrun_starts_the_ranks_as_well(alone: RunDirectory, tmp_path: Path) -> None:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, "-m", "--", "retrieval_gap.cli", *WORDS, "--samples", "400", "--runs-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    run = RunDirectory.of(CONFIG, tmp_path)
    assert json.loads(done.stdout) == run.rows()[0]
    assert losses(run) == pytest.approx(losses(alone), abs=1e-5)


def test_ranks_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (0, 1025):
        with pytest.raises(UsageError, match=f"--ranks {count} is out of range"):
            ranked(CONFIG, tmp_path, count)
    with pytest.raises(UsageError, match="--batch-size 8 is too small to be shared by 9 ranks"):
        ranked(CONFIG, tmp_path, 9)
    with pytest.raises(UsageError, match="2 ranks want a GPU each, and there are 0; --device cpu"):
        Place(count=2, local_count=2).device(torch.device("cuda"))
    given = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    assert place_of_environment() is None
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert place_of_environment() == Place(rank=1, count=2, local_rank=1, local_count=2)
    with pytest.raises(UsageError, match="--ranks 2 starts ranks, and torchrun has started 2"):
        ranked(CONFIG, tmp_path, 2)
    for name, value in (("RANK", "2"), ("WORLD_SIZE", "two"), ("LOCAL_RANK", "-1")):
        monkeypatch.setenv(name, value)
        with pytest.raises(UsageError, match=f"names no place among ranks.*{name}={value}"):
            place_of_environment()
    assert not list(tmp_path.iterdir())


def test_torchrun_says_how_many_ranks_a_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines of two ranks each: the third rank has the first GPU of the second machine."""
    values = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in (values | {"MASTER_ADDR": "there", "MASTER_PORT": "29500"}).items():
        monkeypatch.setenv(name, value)
    assert place_of_environment() == Place(rank=2, count=4, local_rank=0, local_count=2)
