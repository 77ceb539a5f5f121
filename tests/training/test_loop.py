"""Training is deterministic, resumes bit for bit wherever it was stopped, and fails with the reason if it diverges."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from retrieval_gap.decoding import evaluation
from retrieval_gap.decoding.decode import Decoded, decode
from retrieval_gap.decoding.evaluation import Tally, evaluate
from retrieval_gap.experiments.grids.istree import ARCHITECTURES, paper
from retrieval_gap.experiments.trained import run as experiments_run
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rows import read_tally, write_tally
from retrieval_gap.experiments.trained.run import Listener, evaluate_run
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import make_folder, write_json
from retrieval_gap.machine.stopping import StoppedError
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import hash_of
from retrieval_gap.training import checkpoint
from retrieval_gap.training.checkpoint import TrainingProgress, digest, previous, read_checkpoint, save_checkpoint
from retrieval_gap.training.config import TrainingConfig
from retrieval_gap.training.loop import DivergedError, StepReport
from tests.training.runs import execute

CONFIG = RunConfig(
    task="istree",
    mode="cot",
    n=6,
    arch="transformer",
    size="tiny",
    embedding="learned",
    samples=320,
    batch_size=8,
    lr=1e-3,
    warmup_samples=40,
    eval_samples=20,
)


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint)


def assert_same(one: RunDirectory, other: RunDirectory) -> None:
    ours, theirs = weights(one), weights(other)
    assert set(ours) == set(theirs)
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("arch", ["transformer", "mamba", "lstm", "hybrid"])
def test_a_run_that_was_stopped_ends_with_the_same_weights(arch: str, tmp_path: Path) -> None:
    config = replace(CONFIG, arch=arch, samples=160)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    execute(config, whole)

    def stop_at_seven(told: StepReport) -> None:
        if told.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError, match="sample 56 of 160"):
        execute(config, parts, listener=Listener(report=stop_at_seven))
    execute(config, parts)
    assert_same(RunDirectory.of(config, whole), RunDirectory.of(config, parts))
    drop = ("samples_per_s", "tokens_per_s", "padding", "wall_s")  # counted from the start of the process
    logs = [
        [{k: v for k, v in json.loads(line).items() if k not in drop} for line in run.metrics.read_text().splitlines()]
        for run in (RunDirectory.of(config, whole), RunDirectory.of(config, parts))
    ]
    assert logs[0] == logs[1]


@pytest.mark.faults
def test_a_run_killed_by_sigkill_ends_with_the_same_weights(tmp_path: Path) -> None:
    config = replace(CONFIG, samples=8_000, eval_samples=5, max_grad_norm=1.0)
    flags = "--task istree --mode cot --n-nodes 6 --arch transformer --size tiny --embedding learned --samples 8000"
    flags += " --batch-size 8 --lr 1e-3 --warmup-samples 40 --eval-samples 5 --threads 1 --device cpu --keep-weights"
    flags += " --checkpoint-seconds 0.2 --max-grad-norm 1"
    train = [sys.executable, "-m", "retrieval_gap.cli", "train", *flags.split()]
    runs = {name: [*train, "--runs-dir", str(tmp_path / name)] for name in ("whole", "killed")}
    subprocess.run(runs["whole"], check=True, capture_output=True)
    killed = RunDirectory.of(config, tmp_path / "killed")
    for _ in range(2):
        process = subprocess.Popen(runs["killed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = killed.checkpoint.stat().st_mtime if killed.checkpoint.exists() else 0.0
        while process.poll() is None and (
            not killed.checkpoint.exists() or killed.checkpoint.stat().st_mtime == before
        ):
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run(runs["killed"], check=True, capture_output=True)
    assert_same(RunDirectory.of(config, tmp_path / "whole"), killed)


def test_a_finished_run_is_read_back_not_repeated(tmp_path: Path) -> None:
    row = execute(CONFIG, tmp_path)
    stamp = RunDirectory.of(CONFIG, tmp_path).checkpoint.stat().st_mtime_ns
    assert execute(CONFIG, tmp_path) == row
    assert RunDirectory.of(CONFIG, tmp_path).checkpoint.stat().st_mtime_ns == stamp


def test_a_run_killed_before_its_result_is_written_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            execute(CONFIG, tmp_path, keep_weights=False)
    run = RunDirectory.of(CONFIG, tmp_path)
    assert run.checkpoint.exists()
    trained = len(run.reports())
    execute(CONFIG, tmp_path, keep_weights=False)
    assert len(run.reports()) == trained
    assert not run.checkpoint.exists()
    assert not run.evaluation.exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_saved_model_is_the_one_that_was_evaluated(tmp_path: Path) -> None:
    # Without chain of thought, a few steps are enough for scores that differ from an untrained model's.
    config = replace(CONFIG, mode="direct", arch="lstm", eval_samples=200)
    row = execute(config, tmp_path)
    scores = ("accuracy", "accuracy_strict", "exact_trace", "undecided", "eval_samples")
    saved = evaluate_run(RunDirectory.of(config, tmp_path), None, None)
    assert {key: saved[key] for key in scores} == {key: row[key] for key in scores}
    untrained = SequenceModel(config.model(len(config.build_task("train").vocabulary))).eval()
    assert evaluate(untrained, config.build_task("test"), 200).exact_trace != row["exact_trace"]
    assert (saved["samples"], saved["status"]) == (320, "done")


def test_a_partial_run_is_evaluated_as_far_as_it_was_trained(tmp_path: Path) -> None:
    def stop_at_seven(told: StepReport) -> None:
        if told.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        execute(CONFIG, tmp_path, listener=Listener(report=stop_at_seven))
    told = evaluate_run(RunDirectory.of(CONFIG, tmp_path), 10, None)
    assert (told["samples"], told["status"], told["eval_samples"]) == (56, "partial", 10)


def test_a_diverged_loss_stops_the_run_as_failed_with_its_reason(tmp_path: Path) -> None:
    config = replace(CONFIG, lr=1e25)
    with pytest.raises(DivergedError, match=r"the (loss|gradient's norm) is (nan|inf) at step \d+"):
        execute(config, tmp_path)
    assert RunDirectory.of(config, tmp_path).status() == "failed"
    with pytest.raises(RunError, match="failed before"):
        execute(config, tmp_path)


@pytest.mark.parametrize("damage", ["cut", "altered", "other", "empty"])
def test_a_corrupt_checkpoint_is_an_error_and_is_kept(damage: str, tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    execute(replace(CONFIG), tmp_path)
    run.result.unlink()
    content = run.checkpoint.read_bytes()
    broken = {
        "cut": content[:-100],
        "altered": content[:-8] + bytes(8),
        "other": b"PK\x03\x04" + content,
        "empty": b"",
    }[damage]
    run.checkpoint.write_bytes(broken)
    with pytest.raises(RunError, match="delete it to start this run over"):
        execute(CONFIG, tmp_path)
    assert run.checkpoint.read_bytes() == broken


def stopped_with_two_checkpoints(runs_dir: Path) -> RunDirectory:
    """A stopped run of `CONFIG` with a checkpoint of step 9 and the previous one, of step 8."""

    def stop_at_nine(told: StepReport) -> None:
        if told.step == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        execute(CONFIG, runs_dir, listener=Listener(report=stop_at_nine), checkpoint_seconds=0)
    run = RunDirectory.of(CONFIG, runs_dir)
    assert [read_checkpoint(path)[0].step for path in (run.checkpoint, previous(run.checkpoint))] == [9, 8]
    return run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(("damage", "told"), [(cut, "damaged"), (Path.unlink, "missing")])
def test_without_its_newest_checkpoint_a_run_resumes_from_the_previous_one_with_the_same_weights(
    damage: Callable[[Path], None], told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    execute(CONFIG, tmp_path / "undisturbed")
    run = stopped_with_two_checkpoints(tmp_path)
    damage(run.checkpoint)  # a crash between two renames leaves the newest missing
    execute(CONFIG, tmp_path)
    assert_same(run, RunDirectory.of(CONFIG, tmp_path / "undisturbed"))
    assert f"{run.checkpoint} is {told}; resuming from the previous one, at step 8" in caplog.text
    assert not previous(run.checkpoint).exists()


@pytest.mark.parametrize(("damage", "told"), [(cut, "damaged"), (Path.unlink, "missing")])
def test_evaluating_an_older_checkpoint_is_reported(
    damage: Callable[[Path], None], told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped_with_two_checkpoints(tmp_path)
    damage(run.checkpoint)
    caplog.clear()
    assert evaluate_run(run, 2, None)["samples"] == 8 * CONFIG.batch_size
    assert f"{run.checkpoint} is {told}; resuming from the previous one, at step 8" in caplog.text


def test_if_both_checkpoints_are_damaged_the_newest_is_named_and_both_are_kept(tmp_path: Path) -> None:
    run = stopped_with_two_checkpoints(tmp_path)
    cut(run.checkpoint)
    cut(previous(run.checkpoint))
    before = [path.read_bytes() for path in (run.checkpoint, previous(run.checkpoint))]
    with pytest.raises(RunError, match=rf"{run.checkpoint} .*delete it to start this run over"):
        execute(CONFIG, tmp_path)
    assert before == [path.read_bytes() for path in (run.checkpoint, previous(run.checkpoint))]


@pytest.mark.parametrize("progress", ['{"step": 41}', '{"step": -1}', '{"step": 1.0}', "null", '{"loss_sum": "x"}'])
def test_a_checkpoint_with_impossible_progress_is_refused(progress: str, tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    execute(CONFIG, tmp_path)
    run.result.unlink()
    signed = {"progress": progress, "sha256": digest(progress, weights(run))}
    save_file(weights(run), run.checkpoint, metadata=signed)
    with pytest.raises(RunError, match=r"(cannot be read|is at step 41 of 40).*delete it to start this run over"):
        execute(CONFIG, tmp_path)


def test_equal_checkpoints_are_equal_byte_for_byte(tmp_path: Path) -> None:
    parameters = {name: torch.nn.Parameter(torch.arange(3.0)) for name in "cab"}
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.ones(3)
    optimizer.step()
    for i in range(8):  # the library's own order changes from call to call
        save_checkpoint(tmp_path / f"{i}.safetensors", parameters, optimizer, TrainingProgress(step=1))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert read_checkpoint(tmp_path / "0.safetensors")[0] == TrainingProgress(step=1)


def test_a_partial_evaluation_with_a_changed_digit_is_not_used(tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    tally = Tally(samples=16, answers=16, right=9, exact=3, tokens=99, seconds=1.0)
    write_tally(run, tally)
    assert read_tally(run) == tally
    run.evaluation.write_text(run.evaluation.read_text().replace('"right": 9', '"right": 8'))
    assert read_tally(run) == Tally()


def test_a_checkpoint_whose_progress_was_altered_is_damaged(tmp_path: Path) -> None:
    execute(CONFIG, tmp_path)
    run = RunDirectory.of(CONFIG, tmp_path)
    with safe_open(run.checkpoint, framework="pt") as file:
        header = file.metadata()
    altered = header | {"progress": header["progress"].replace('"step": 40', '"step": 30')}
    save_file(weights(run), run.checkpoint, metadata=altered)
    with pytest.raises(RunError, match="SHA-256 differs"):
        read_checkpoint(run.checkpoint)


def size_of(run: RunDirectory) -> int:
    return sum(path.stat().st_size for path in run.path.iterdir())


def test_a_finished_run_without_weights_is_small_and_done_to_every_reader(tmp_path: Path) -> None:
    row = execute(CONFIG, tmp_path, keep_weights=False)
    run = RunDirectory.of(CONFIG, tmp_path)
    assert size_of(run) < 100_000
    assert sorted(path.name for path in run.path.iterdir() if path.name != "lock") == [
        "config.json", "environment.jsonl", "metrics.jsonl", "result.json", "samples.jsonl",
    ]  # fmt: skip
    assert (run.status(), run.rows()[0]) == ("done", row)
    assert execute(CONFIG, tmp_path) == row
    with pytest.raises(UsageError, match="--keep-weights"):
        evaluate_run(run, None, None)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_partial_run_of_the_largest_model_is_under_40_megabytes(arch: str, tmp_path: Path) -> None:
    (config,) = (c for c in paper() if (c.mode, c.n, c.arch, c.size) == ("rag", 128, arch, "2m"))
    model = SequenceModel(config.model(len(config.build_task("train").vocabulary)))
    parameters = model.trained_parameters()
    optimizer = torch.optim.AdamW(parameters.values())
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_checkpoint(tmp_path / "checkpoint.safetensors", parameters, optimizer, TrainingProgress(step=1))
    size = (tmp_path / "checkpoint.safetensors").stat().st_size
    assert 12 * model.parameter_count() < size < 40e6 - 1e6  # a megabyte is left for the rest of a run directory


def test_an_evaluation_that_was_stopped_resumes_at_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = execute(CONFIG, tmp_path / "undisturbed")
    decoded = 0
    monkeypatch.setattr(experiments_run, "decode_batch", lambda bits, device: 8)

    def decode_two_batches(*args: Any, **options: Any) -> Decoded:
        nonlocal decoded
        if decoded == 2:
            raise KeyboardInterrupt
        decoded += 1
        return decode(*args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(evaluation, "decode", decode_two_batches)
        with pytest.raises(KeyboardInterrupt):
            execute(CONFIG, tmp_path)
    run = RunDirectory.of(CONFIG, tmp_path)
    assert read_tally(run).samples == 16
    rest: list[int] = []

    def decode_the_rest(model: Any, prompts_BxP: Any, *args: Any, **options: Any) -> Decoded:
        rest.append(len(prompts_BxP))
        return decode(model, prompts_BxP, *args, **options)

    monkeypatch.setattr(evaluation, "decode", decode_the_rest)
    row = execute(CONFIG, tmp_path)
    assert rest == [4]
    other = dict.fromkeys(("tokens_per_s", "wall_s"))
    assert row | other == undisturbed | other
    assert not run.evaluation.exists()


def test_counts_of_an_earlier_model_are_not_used_after_training(tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    write_tally(run, Tally(samples=16, answers=16, right=16, tokens=99, seconds=1.0))
    alone = execute(CONFIG, tmp_path / "alone")
    assert execute(CONFIG, tmp_path)["accuracy"] == alone["accuracy"]


@pytest.mark.parametrize("text", ["", "[]", '{"samples": "8"}', '{"samples": 8, "right": 9}', '{"sampels": 8}'])
def test_impossible_counts_are_ignored(text: str, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.evaluation.write_text(text)
    assert read_tally(run) == Tally()
    if text.startswith("{"):  # the right digest of wrong counts
        told = json.loads(text)
        write_json(run.evaluation, told | {"digest": hash_of(told)})
        assert read_tally(run) == Tally()


def test_a_resumed_run_reads_its_checkpoint_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(CONFIG, tmp_path)
    RunDirectory.of(CONFIG, tmp_path).result.unlink()
    reads: list[Path] = []
    monkeypatch.setattr(checkpoint, "read_checkpoint", lambda path: reads.append(path) or read_checkpoint(path))
    execute(CONFIG, tmp_path)
    assert len(reads) == 1


@pytest.mark.parametrize("line", [b"\xff\n", b"[1]\n", b'{"step": "x"}\n', b'{"step": 1, "samples": 8}\n', b'{"st'])
def test_an_invalid_report_is_left_out(line: bytes, tmp_path: Path) -> None:
    execute(CONFIG, tmp_path)
    run = RunDirectory.of(CONFIG, tmp_path)
    good = run.metrics.read_bytes()
    run.metrics.write_bytes(good + line)
    assert len(run.reports()) == 40
    run.trim_metrics(40)
    assert run.metrics.read_bytes() == good


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    other = replace(CONFIG, arch="lstm")
    execute(CONFIG, tmp_path)
    run = RunDirectory.of(other, tmp_path)
    run.create(other, {})
    run.checkpoint.write_bytes(RunDirectory.of(CONFIG, tmp_path).checkpoint.read_bytes())
    with pytest.raises(RunError, match="of another model"):
        execute(other, tmp_path)


def test_a_run_held_by_another_process_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval_gap.runs.directory.LOCK_SECONDS", 0.01)
    run = RunDirectory.of(CONFIG, tmp_path)
    run.create(CONFIG, {})
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir()}
    with run.locked(), pytest.raises(RunError, match="another process"):
        execute(CONFIG, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != "lock"} == before


def test_a_run_that_another_process_is_finishing_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = execute(CONFIG, tmp_path)
    run = RunDirectory.of(CONFIG, tmp_path)
    finished = run.result.rename(run.path / "finished.json")
    waits = threading.Event()
    monkeypatch.setattr("retrieval_gap.runs.directory.time.sleep", lambda seconds: waits.set())
    with ThreadPoolExecutor(1) as other, run.locked():
        waiting = other.submit(execute, CONFIG, tmp_path)
        assert waits.wait(120)
        finished.rename(run.result)
    assert waiting.result() == row


def test_a_run_records_the_environment_of_every_start(tmp_path: Path) -> None:
    run = RunDirectory.of(CONFIG, tmp_path)
    make_folder(run.path)
    (run.path / ".checkpoint.safetensors.123.part").write_text("what a kill left")

    def stop(told: StepReport) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        execute(CONFIG, tmp_path, listener=Listener(report=stop))
    written = (run.path / "config.json").stat().st_mtime_ns
    row = execute(CONFIG, tmp_path)
    starts = [json.loads(line) for line in (run.path / "environment.jsonl").read_text().splitlines()]
    assert [start["commit"] for start in starts] == [row["commit"]] * 2
    assert (run.path / "config.json").stat().st_mtime_ns == written
    assert not list(run.path.glob(".*"))


def test_the_learning_rate_warms_up_then_falls_along_a_cosine_to_zero() -> None:
    config = TrainingConfig(samples=1_000, batch_size=10, lr=1.0, warmup_samples=100)
    rates = [config.lr_at(step) for step in range(config.steps)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 1e-3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("samples", 0),
        ("batch_size", 0),
        ("lr", -1.0),
        ("lr", math.inf),
        ("warmup_samples", 10**9),
        ("max_grad_norm", -1),
    ],
)
def test_a_setting_out_of_range_is_named(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=field):
        replace(CONFIG, **{field: value}).training()


STATELESS = """
from dataclasses import dataclass
from retrieval_gap.models.attention import SwiGLU
from retrieval_gap.models.mixer import Residual

@dataclass(frozen=True, kw_only=True)
class Perceptron:
    d_model: int = 16

    def layers(self):
        return [Residual(self.d_model, SwiGLU(self.d_model, 8))]

SIZES = {"tiny": Perceptron()}
"""


def test_an_architecture_without_a_state_is_trained_and_evaluated(tmp_path: Path) -> None:
    path = tmp_path / "perceptron.py"
    path.write_text(STATELESS)
    row = execute(replace(CONFIG, mode="direct", arch=str(path), samples=80, eval_samples=10), tmp_path / "runs")
    assert (row["state_bits"], row["eval_samples"]) == (0, 10)
