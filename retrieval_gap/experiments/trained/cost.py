"""What a cell costs: tokens, operations, and seconds on a machine by the roofline.

The roofline: a step takes the longest of operations / peak rate, bytes / peak bandwidth (both at ACHIEVED of the peak),
and kernels x the least time of a kernel.  Models of a million parameters are bound by the last.

Peaks, fp32 outside the tensor cores (training is fp32, TF32 off): NVIDIA H200 Tensor Core GPU data sheet (H200 SXM):
67 TFLOP/s, 4.8 TB/s.  NVIDIA A100 Tensor Core GPU data sheet (A100 80GB SXM): 19.5 TFLOP/s, 2,039 GB/s.
ACHIEVED and GPU_KERNEL_S are assumptions, not measurements; `forecast` marks what depends on them.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from retrieval_gap.decoding.evaluation import decode_batch
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.work import Load, decode_load, prefill_load, state_floats, training_load
from retrieval_gap.machine import environment
from retrieval_gap.models import Embedding, ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import CONTROL_TOKENS, Mode, Task
from retrieval_gap.training.curriculum import sizes_of, stage_steps

ACHIEVED = 0.5
GPU_KERNEL_S = 3e-6  # in a captured graph: launch and run of a kernel with almost no work
SAMPLED = 256  # samples that a task's lengths are measured on
PROBE_S = 0.2  # per measurement of this machine

Phase = Sequence[tuple[float, Load]]
"""Kinds of steps in order: how many steps, and the load of one."""


def stretch(phase: Phase, first: float, last: float) -> Phase:
    """The steps of a phase between two shares of them, each in [0, 1]."""
    total, before, found = sum(times for times, _ in phase), 0.0, []
    for times, load in phase:
        taken = min(before + times, last * total) - max(before, first * total)
        before += times
        if taken > 0:
            found.append((taken, load))
    return found


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Rates that are reached, the time of a kernel, and how many cells run side by side.

    hardware: the machine's name in the environment of a run, or a part of it.  threads: per cell, None if it does not
    matter.
    """

    name: str
    hardware: str
    flops_per_s: float
    bytes_per_s: float
    kernel_s: float
    count: int = 1
    threads: int | None = None

    def seconds(self, phase: Phase) -> float:
        """Seconds by the roofline, for one cell alone."""
        return sum(times * self._step(load) for times, load in phase)

    def _step(self, load: Load) -> float:
        return max(load.flops / self.flops_per_s, load.bytes / self.bytes_per_s, load.kernels * self.kernel_s)


def _gpu(hardware: str, count: int, peak_flops_per_s: float, peak_bytes_per_s: float) -> Hardware:
    return Hardware(
        name=f"{count}x{hardware}",
        hardware=hardware,
        flops_per_s=ACHIEVED * peak_flops_per_s,
        bytes_per_s=ACHIEVED * peak_bytes_per_s,
        kernel_s=GPU_KERNEL_S,
        count=count,
    )


GPUS = (_gpu("H200", 1, 67e12, 4.8e12), _gpu("A100", 1, 19.5e12, 2.039e12), _gpu("A100", 8, 19.5e12, 2.039e12))


@dataclass(frozen=True, kw_only=True)
class TraceSizes:
    """Mean tokens per sample: of the trace, with the padding of its batch, graded, of the prompt."""

    length: float
    padded: float
    graded: float
    prompt: float


@dataclass(frozen=True, kw_only=True)
class CellCost:
    """tokens: trained on, without padding; padded: with it.  flops: of training and evaluation.

    training: the steps of each problem size, in the order of the curriculum if there is one.
    decoded: tokens of the evaluation.
    """

    tokens: float
    padded: float
    flops: float
    training: Phase
    evaluation: Phase
    decoded: float


@cache
def cell_cost(config: RunConfig) -> CellCost:
    """From the lengths of the task's own samples and the shapes of the model's own modules."""
    model, batch = _model(config.arch, config.size, config.embedding), config.batch_size
    vocabulary = len(config.build_task("train").vocabulary)
    stages = [trace_sizes(replace(config, n=n, curriculum="")) for n in sizes_of(config.curriculum, config.n)]
    steps = stage_steps(len(stages), config.training().steps)
    training = [
        (float(count), training_load(model, vocabulary=vocabulary, batch=batch, length=s.padded, graded=s.graded))
        for count, s in zip(steps, stages, strict=True)
    ]
    task, own = config.build_task(config.eval_split), stages[-1]
    samples = task.to_evaluate(config.eval_samples)
    evaluation = _evaluation(task, samples, model, own)
    return CellCost(
        tokens=batch * sum(count * sizes.length for count, sizes in zip(steps, stages, strict=True)),
        padded=batch * sum(count * sizes.padded for count, sizes in zip(steps, stages, strict=True)),
        flops=sum(times * load.flops for times, load in [*training, *evaluation]),
        training=training,
        evaluation=evaluation,
        decoded=samples * (own.length - own.prompt),
    )


def _evaluation(task: Task, samples: int, model: SequenceModel, sizes: TraceSizes) -> Phase:
    """Free decoding of full batches up to the longest trace; a finished sample costs no more."""
    longest = task.max_length
    batches = math.ceil(samples / decode_batch(max(1, int(32 * state_floats(model, longest)))))
    rows, steps = samples / batches, longest - sizes.prompt
    active = rows * (sizes.length - sizes.prompt) / steps
    middle = (sizes.prompt + longest) / 2
    return [
        (batches, prefill_load(model, rows=rows, length=sizes.prompt)),
        (batches * steps, decode_load(model, vocabulary=len(task.vocabulary), rows=active, context=middle)),
    ]


@cache
def _model(arch: str, size: str, embedding: Embedding) -> SequenceModel:
    """A model for the shapes of its layers, which do not depend on the vocabulary."""
    shape = architecture(arch, size)
    return SequenceModel(ModelConfig(architecture=shape, vocab_size=len(CONTROL_TOKENS), embedding=embedding))


def trace_sizes(config: RunConfig) -> TraceSizes:
    """The sizes at the run's own problem size, on the first SAMPLED samples of the training split, in batches
    as in training.
    """
    batch_size = min(config.batch_size, SAMPLED)
    return _trace_sizes(config.task, config.mode, config.n, config.family, config.options, batch_size)


@cache
def _trace_sizes(task_name: str, mode: Mode, n: int, family: str, options: str, batch_size: int) -> TraceSizes:
    config = RunConfig(task=task_name, mode=mode, n=n, family=family, options=options, arch="", size="")
    task = config.build_task("train")
    starts = range(0, SAMPLED - batch_size + 1, batch_size)
    batches = [task.sample(np.arange(start, start + batch_size)) for start in starts]
    return TraceSizes(
        length=float(np.mean([batch.length_B.mean() for batch in batches])),
        padded=float(np.mean([batch.tokens_BxL.shape[1] for batch in batches])),
        graded=float(np.mean([batch.loss_mask_BxL.sum(1).mean() for batch in batches])),
        prompt=float(np.mean([batch.prompt_len_B.mean() for batch in batches])),
    )


@cache
def machine_here(places: tuple[str, ...]) -> Hardware:
    """What workers run on.  places: the GPU of each, "" on the CPU.  A GPU that GPUS lacks counts as an A100."""
    if not any(places):
        return this_machine(len(places))
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""  # "": a cluster, of which no node is here
    known = next((gpu for gpu in GPUS if gpu.hardware in name), GPUS[1])
    return replace(known, name="here", count=len(set(places)))


def this_machine(workers: int) -> Hardware:
    """Workers on this CPU, each with the rates of one thread, measured in less than a second: a matrix product, a
    copy, a call of a small layer.  ACHIEVED applies to the first two as it does to a GPU's peaks.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a_512x512, out_512x512 = torch.randn(512, 512), torch.empty(512, 512)
        source, target = torch.ones(1 << 24), torch.empty(1 << 24)
        layer, x_1x8 = torch.nn.Linear(8, 8), torch.ones(1, 8)
        with torch.inference_mode():
            product_s = _fastest(lambda: torch.mm(a_512x512, a_512x512, out=out_512x512))
            copy_s = _fastest(lambda: target.copy_(source))
            call_s = _fastest(lambda: layer(x_1x8))
    finally:
        torch.set_num_threads(threads)
    return Hardware(
        name="here",
        hardware=environment.hardware(),
        flops_per_s=ACHIEVED * 2 * 512**3 / product_s,
        bytes_per_s=ACHIEVED * 2 * source.nbytes / copy_s,
        kernel_s=call_s,
        count=workers,
        threads=1,
    )


def _fastest(work: Callable[[], object]) -> float:
    """Seconds of the fastest call within PROBE_S."""
    fastest, end = math.inf, time.perf_counter() + PROBE_S
    while (started := time.perf_counter()) < end:
        work()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
