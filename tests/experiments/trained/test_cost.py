"""What a cell costs: counted against torch's own counter, and every number of hours says where it comes from."""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from retrieval_gap.experiments.grids.istree import ARCHITECTURES, paper
from retrieval_gap.experiments.trained import forecast
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import GPUS, Hardware, cell_cost, this_machine, trace_sizes
from retrieval_gap.experiments.trained.forecast import (
    Duration,
    estimate,
    hours,
    measured_runs,
    on_machine,
    print_forecast,
)
from retrieval_gap.experiments.trained.work import Load, state_floats, training_load
from retrieval_gap.kernels import causal_conv1d, mamba, residual, rms_norm, selective_scan
from retrieval_gap.kernels.dispatch import Backend
from retrieval_gap.kernels.selective_scan import ScanInputs
from retrieval_gap.kernels.selective_scan import naive as naive_scan
from retrieval_gap.machine import environment
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mamba import D_CONV, MambaMixer
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.known import planned_runs
from tests.training.runs import made_up_row
from tests.training.test_loop import CONFIG

VOCABULARY, BATCH, LENGTH = 26, 3, 20
MACHINE = Hardware(
    name="here",
    hardware=environment.hardware(),
    flops_per_s=1e9,
    bytes_per_s=1e9,
    kernel_s=1e-5,
    count=2,
    threads=1,
)


@pytest.fixture
def in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every kernel in operations that torch's counter sees; it takes a causal attention's whole square."""
    for kernel in (causal_conv1d, mamba, residual, rms_norm, selective_scan):
        plain = {"naive": Backend(module=kernel.naive)}
        monkeypatch.setattr(kernel, "backends", lambda plain=plain: plain)
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None), sdpa_kernel(SDPBackend.MATH):
        yield


def tiny(arch: str, embedding: Any = "sinusoidal") -> SequenceModel:
    return SequenceModel(
        ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=VOCABULARY, embedding=embedding)
    )


def counted_flops(model: SequenceModel, graded: int) -> float:
    """Of the matrix products of a training step, by torch's counter."""
    tokens_BxL = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    mask_BxL = torch.zeros(BATCH, LENGTH, dtype=torch.bool)
    mask_BxL[:, -graded:] = True
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens_BxL, mask_BxL).backward()
    by_operation = counter.get_flop_counts()["Global"]
    return sum(flops for operation, flops in by_operation.items() if "conv" not in str(operation))


@pytest.mark.usefixtures("in_plain_torch")
@pytest.mark.parametrize("embedding", ["sinusoidal", "learned"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_training_steps_operations_are_those_that_torch_counts(arch: str, embedding: str) -> None:
    model, graded, positions = tiny(arch, embedding), 7, LENGTH - 1
    ours = training_load(model, vocabulary=VOCABULARY, batch=BATCH, length=LENGTH, graded=graded).flops
    for layer in model.layers:
        mixer = layer.mixer
        per_token = 0.0
        if hasattr(mixer, "o_proj"):  # torch counts the half of the square that causality saves
            per_token = 4 * mixer.o_proj.in_features * (positions - (positions + 1) / 2)
        if isinstance(mixer, MambaMixer):  # of scan and convolution torch counts the sum over states alone
            d_inner, d_state = mixer.A_log_IxN.shape
            per_token = 2 * d_inner * d_state - mixer.work(1).flops
        ours += 3 * BATCH * positions * per_token
    # the first step of an LSTM has no gradient to hand to the state before it
    assert ours == pytest.approx(counted_flops(model, graded), rel=0.02 if arch == "lstm" else 1e-9)


class ElementwiseResults(TorchDispatchMode):
    """Counts the numbers that elementwise operations give, and two for each product of a batched matrix product."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.bmm.default:
            self.count += 2 * args[0].numel() * args[1].shape[-1]
        elif torch.Tag.pointwise in function.tags:
            self.count += result.numel()
        return result


def test_a_scans_operations_are_those_of_its_definition() -> None:
    mixer = MambaMixer(d_model=16)
    channels, states = mixer.A_log_IxN.shape
    x, delta, z = torch.randn(3, 5, channels)
    a, b, c = -torch.rand(channels, states), torch.randn(5, states), torch.randn(5, states)
    with torch.no_grad(), ElementwiseResults() as counter:
        weights = (mixer.D_I, z, mixer.dt_proj.bias, torch.zeros(5, channels, states))
        naive_scan.selective_scan_step(ScanInputs(x, delta, a, b, c, *weights))
    assert counter.count / 5 == mixer.work(1).flops - 2 * D_CONV * channels


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("length", [1, 9])
def test_a_states_size_is_that_of_its_tensors(arch: str, length: int) -> None:
    assert 32 * state_floats(tiny(arch), length) == tiny(arch).state_bits(length)


# n, then the mean length with the answer of the released generator: cot, rag
RELEASED = [(16, 69.4, 426), (32, 140, 886), (64, 277.5, 1758), (128, 556, 3509)]


@pytest.mark.parametrize(("n", "cot", "rag"), RELEASED)
def test_mean_lengths_are_those_of_the_released_generator(n: int, cot: float, rag: float) -> None:
    config = RunConfig(task="istree", mode="cot", n=n, arch="lstm", size="0.5m")
    assert trace_sizes(config).length == pytest.approx(cot, rel=0.03)
    assert trace_sizes(replace(config, mode="rag")).length == pytest.approx(rag, rel=0.05)
    assert trace_sizes(replace(config, mode="direct")).length == 3 * n
    assert trace_sizes(config).padded == 5 * n  # no batch of 64 is without a tree
    task = config.build_task("train")
    first = task.sample(np.arange(64)).loss_mask_BxL.sum(1).mean()
    assert trace_sizes(config).graded == pytest.approx(first, rel=0.1)


@pytest.mark.parametrize(
    ("load", "seconds"),
    [
        (Load(flops=3e9, bytes=1e9, kernels=1e5), 3.0),
        (Load(flops=1e9, bytes=2e9, kernels=1e5), 2.0),
        (Load(flops=1e9, bytes=1e9, kernels=4e5), 4.0),
    ],
)
def test_a_step_takes_as_long_as_what_holds_it_up_most(load: Load, seconds: float) -> None:
    assert MACHINE.seconds([(10, load)]) == pytest.approx(10 * seconds)


def test_the_longer_the_problem_and_the_larger_the_model_the_more_a_cell_costs() -> None:
    config = RunConfig(task="istree", mode="cot", n=16, arch="mamba", size="0.5m")
    costs = [cell_cost(c) for c in (config, replace(config, n=32), replace(config, n=32, size="1m"))]
    for smaller, larger in itertools.pairwise(costs):
        assert larger.flops > 1.5 * smaller.flops
    for machine in (*GPUS, MACHINE):
        assert machine.seconds(costs[1].training) > machine.seconds(costs[0].training)
        assert machine.seconds(costs[1].evaluation) > machine.seconds(costs[0].evaluation)
    assert costs[0].tokens == pytest.approx(1_000_000 * 69.4, rel=0.03)
    assert costs[0].padded >= costs[0].tokens


def test_this_machine_is_measured() -> None:
    machine = this_machine(workers=3)
    rates = (machine.flops_per_s, machine.bytes_per_s, 1 / machine.kernel_s)
    assert machine.count == 3
    assert all(0 < rate < math.inf for rate in rates)


def make_run(
    runs_dir: Path, config: RunConfig, *, pace: float, hardware: str, tokens_per_s: float = 0.0, threads: int = 1
) -> None:
    run = RunDirectory.of(config, runs_dir)
    run.path.mkdir(parents=True)
    run.create(config, {})
    (run.path / "environment.jsonl").write_text(json.dumps({"hardware": hardware, "threads": threads}) + "\n")
    report = {"step": 1, "samples": config.samples // 4, "wall_s": 1.0}
    lines = [json.dumps(report | {"samples_per_s": speed}) for speed in (pace / 9, pace, pace)]
    run.metrics.write_text("\n".join(lines) + "\n")
    if tokens_per_s:
        run.result.write_text(json.dumps(made_up_row(config, tokens_per_s=tokens_per_s)))


def test_hours_come_from_a_measured_run_where_there_is_one(tmp_path: Path) -> None:
    h200 = GPUS[0]
    make_run(tmp_path, replace(CONFIG, seed=1), pace=40.0, hardware=environment.hardware(), tokens_per_s=100.0)
    make_run(tmp_path, replace(CONFIG, seed=2), pace=9.0, hardware="another processor")
    make_run(tmp_path, replace(CONFIG, seed=3), pace=8.0, hardware=environment.hardware(), threads=2)
    make_run(tmp_path, replace(CONFIG, seed=4), pace=800.0, hardware="NVIDIA H200, 16 cores")
    runs = measured_runs(tmp_path)
    here, there = on_machine(MACHINE, runs), on_machine(h200, runs)
    sizes = trace_sizes(CONFIG)
    decoding = CONFIG.eval_samples * (sizes.length - sizes.prompt) / 100.0
    assert estimate(CONFIG, MACHINE, here) == Duration(
        pytest.approx(CONFIG.samples / 40.0 + decoding), frozenset({"measured"})
    )
    half = replace(CONFIG, samples=CONFIG.samples * 2)
    assert estimate(half, MACHINE, here, 0.5) == Duration(
        pytest.approx(CONFIG.samples / 40.0 + decoding), frozenset({"measured"})
    )
    roofline = h200.seconds(cell_cost(CONFIG).evaluation)
    assert estimate(CONFIG, h200, there) == Duration(
        pytest.approx(CONFIG.samples / 800.0 + roofline), frozenset({"measured", "roofline"})
    )
    assert estimate(CONFIG, h200, there, 0.0) == Duration(pytest.approx(roofline), frozenset({"roofline"}))


def test_hours_of_other_cells_are_scaled_from_the_nearest_measured_ones(tmp_path: Path) -> None:
    unlike = replace(CONFIG, mode="direct")
    make_run(tmp_path, CONFIG, pace=40.0, hardware=environment.hardware(), tokens_per_s=100.0)
    make_run(tmp_path, unlike, pace=10.0, hardware=environment.hardware())
    moved = replace(CONFIG, seed=9)
    make_run(tmp_path, moved, pace=10.0, hardware=environment.hardware())
    with_gone_task = json.dumps(asdict(replace(moved, task="gone.py")))
    (RunDirectory.of(moved, tmp_path).path / "config.json").write_text(with_gone_task)
    runs = on_machine(MACHINE, measured_runs(tmp_path))
    roofline = {
        config: [MACHINE.seconds(phase) for phase in (cell_cost(config).training, cell_cost(config).evaluation)]
        for config in (CONFIG, unlike, replace(CONFIG, n=12), replace(CONFIG, arch="lstm"))
    }
    sizes = trace_sizes(CONFIG)
    decoding = CONFIG.eval_samples * (sizes.length - sizes.prompt) / 100.0
    paces = [CONFIG.samples / 40.0 / roofline[CONFIG][0], unlike.samples / 10.0 / roofline[unlike][0]]
    for config, pace in ((replace(CONFIG, n=12), paces[0]), (replace(CONFIG, arch="lstm"), sum(paces) / 2)):
        training, evaluation = roofline[config]
        seconds = pace * training + decoding / roofline[CONFIG][1] * evaluation
        assert estimate(config, MACHINE, runs) == Duration(pytest.approx(seconds), frozenset({"scaled"}))
    assert estimate(CONFIG, MACHINE, []) == Duration(pytest.approx(sum(roofline[CONFIG])), frozenset({"roofline"}))


def test_hours_are_until_the_last_cell_ends_and_carry_their_unit_and_the_marks_of_all() -> None:
    cells = [Duration(7200.0, frozenset({"measured"})), Duration(3600.0, frozenset({"roofline", "scaled"}))]
    assert hours(cells, replace(MACHINE, count=1)) == "3.00h =~?"
    assert hours(cells, MACHINE) == "2.00h =~?"
    assert hours([Duration(3.6e6, frozenset({"roofline"}))] * 2, MACHINE) == "1,000h ?"
    assert hours([Duration(1.0, frozenset({"roofline"}))], MACHINE) == "<0.01h ?"
    assert hours([], MACHINE) == ""


@pytest.mark.parametrize("width", [80, 120])
def test_a_forecast_fits_the_terminal_and_marks_every_number(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [config for config in paper() if config.n == 16 and config.size == "0.5m"]
    make_run(tmp_path, configs[0], pace=3.0, hardware=environment.hardware(), tokens_per_s=100.0)
    monkeypatch.setattr(forecast, "wide_console", lambda: Console(width=width))
    print_forecast(planned_runs(configs, tmp_path), tmp_path, MACHINE)
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("h hours:"))]
    assert max(map(len, table)) <= width
    assert "…" not in "".join(table)
    assert [line.split("  ")[0].strip() for line in table if line.strip()][1:] == [
        "all", "left", "cot n=16", "rag n=16", "direct n=16",
        "transformer 0.5m", "hybrid 0.5m", "mamba 0.5m", "lstm 0.5m",
    ]  # fmt: skip
    rows = [line for line in table if line.strip()][1:]
    assert all(len([word for word in line.split() if set(word) <= set("=~?")]) == len(GPUS) + 1 for line in rows)
    assert rows[0].split()[1] == "12"
    assert rows[1].split()[1] == "11"
