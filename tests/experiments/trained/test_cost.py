"""The cost of a cell: its operations agree with torch's own counter, its lengths with the released generator."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from retrieval_gap.experiments.grids.istree import ARCHITECTURES
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import GPUS, Hardware, cell_cost, stretch, this_machine, trace_sizes
from retrieval_gap.experiments.trained.work import Load, state_floats, training_load
from retrieval_gap.kernels import causal_conv1d, mamba, residual, rms_norm, selective_scan
from retrieval_gap.kernels.dispatch import Backend
from retrieval_gap.kernels.selective_scan import ScanInputs
from retrieval_gap.kernels.selective_scan import naive as naive_scan
from retrieval_gap.machine import environment
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.mamba import D_CONV, MambaMixer

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
    """Runs kernels in operations that torch's counter sees; the counter takes causal attention's whole square."""
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
    """The operations of a training step's matrix products, by torch's counter."""
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
def test_the_operations_of_a_training_step_are_those_that_torch_counts(arch: str, embedding: str) -> None:
    model, graded, positions = tiny(arch, embedding), 7, LENGTH - 1
    ours = training_load(model, vocabulary=VOCABULARY, batch=BATCH, length=LENGTH, graded=graded).flops
    for layer in model.layers:
        mixer = layer.mixer
        per_token = 0.0
        if hasattr(mixer, "o_proj"):  # torch counts the half of the square that causality saves
            per_token = 4 * mixer.o_proj.in_features * (positions - (positions + 1) / 2)
        if isinstance(mixer, MambaMixer):  # of scan and convolution torch counts only the sum over states
            d_inner, d_state = mixer.A_log_IxN.shape
            per_token = 2 * d_inner * d_state - mixer.work(1).flops
        ours += 3 * BATCH * positions * per_token
    # the first step of an LSTM passes no gradient to a state before it
    assert ours == pytest.approx(counted_flops(model, graded), rel=0.02 if arch == "lstm" else 1e-9)


class ElementwiseResults(TorchDispatchMode):
    """Counts the numbers that elementwise operations return, and two for each product of a batched matrix product."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.bmm.default:
            self.count += 2 * args[0].numel() * args[1].shape[-1]
        elif torch.Tag.pointwise in function.tags:
            self.count += result.numel()
        return result


def test_the_operations_of_a_scan_are_those_of_its_definition() -> None:
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
def test_the_size_of_a_state_is_that_of_its_tensors(arch: str, length: int) -> None:
    assert 32 * state_floats(tiny(arch), length) == tiny(arch).state_bits(length)


# n, then the released generator's mean lengths, answer included: cot, rag
RELEASED = [(16, 69.4, 426), (32, 140, 886), (64, 277.5, 1758), (128, 556, 3509)]


@pytest.mark.parametrize(("n", "cot", "rag"), RELEASED)
def test_mean_lengths_are_those_of_the_released_generator(n: int, cot: float, rag: float) -> None:
    config = RunConfig(task="istree", mode="cot", n=n, arch="lstm", size="0.5m")
    assert trace_sizes(config).length == pytest.approx(cot, rel=0.03)
    assert trace_sizes(replace(config, mode="rag")).length == pytest.approx(rag, rel=0.05)
    assert trace_sizes(replace(config, mode="direct")).length == 3 * n
    assert trace_sizes(config).padded == 5 * n  # every batch of 64 has a tree
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
def test_a_step_takes_as_long_as_its_slowest_part(load: Load, seconds: float) -> None:
    assert MACHINE.seconds([(10, load)]) == pytest.approx(10 * seconds)


def test_longer_problems_and_larger_models_cost_more() -> None:
    config = RunConfig(task="istree", mode="cot", n=16, arch="mamba", size="0.5m")
    costs = [cell_cost(c) for c in (config, replace(config, n=32), replace(config, n=32, size="1m"))]
    for smaller, larger in itertools.pairwise(costs):
        assert larger.flops > 1.5 * smaller.flops
    for machine in (*GPUS, MACHINE):
        assert machine.seconds(costs[1].training) > machine.seconds(costs[0].training)
        assert machine.seconds(costs[1].evaluation) > machine.seconds(costs[0].evaluation)
    assert costs[0].tokens == pytest.approx(1_000_000 * 69.4, rel=0.03)
    assert costs[0].padded >= costs[0].tokens


@pytest.mark.parametrize("samples", [4800, 4816, 4832])
def test_the_tokens_of_a_curriculum_are_those_that_it_draws(samples: int) -> None:
    config = replace(
        RunConfig(task="index", mode="direct", n=32, arch="lstm", size="tiny", curriculum="4+8"),
        samples=samples,
        batch_size=16,
        warmup_samples=0,
    )
    data, steps = config.training_data(config.build_task("train")), samples // 16
    drawn = sum(int(data.sample(np.arange(16 * step, 16 * step + 16)).length_B.sum()) for step in range(steps))
    assert cell_cost(config).tokens == pytest.approx(drawn, rel=1e-12)
    assert sum(times for times, _ in cell_cost(config).training) == steps
    assert cell_cost(config).flops < cell_cost(replace(config, curriculum="")).flops


@pytest.mark.parametrize(
    ("first", "last", "wanted"),
    [(0.0, 1.0, [4, 6]), (0.0, 0.4, [4]), (0.2, 0.5, [2, 1]), (0.7, 1.0, [3]), (0.5, 0.5, [])],
)
def test_a_stretch_of_a_phase_has_the_steps_between_two_shares(first: float, last: float, wanted: list[int]) -> None:
    phase = [(4.0, Load(flops=1, bytes=1, kernels=1)), (6.0, Load(flops=2, bytes=2, kernels=2))]
    assert [times for times, _ in stretch(phase, first, last)] == pytest.approx(wanted)


def test_this_machine_is_measured() -> None:
    machine = this_machine(workers=3)
    rates = (machine.flops_per_s, machine.bytes_per_s, 1 / machine.kernel_s)
    assert machine.count == 3
    assert all(0 < rate < math.inf for rate in rates)
