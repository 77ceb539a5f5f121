"""Presets: functions that return the cells of a grid, the most telling first."""

from collections.abc import Callable
from dataclasses import replace

from retrieval_gap.errors import unknown
from retrieval_gap.experiments.config import RunConfig
from tasks.api import Mode

ARCHITECTURES = ("transformer", "hybrid", "mamba", "lstm")
MODES: tuple[Mode, ...] = ("rag", "cot", "direct")
SEARCHED_LR = (1e-3, 2e-3, 4e-3)
# The best of SEARCHED_LR on the validation split, for each view: results/istree_lr.csv, from the preset `lr`.
DEMO_LR = dict.fromkeys(ARCHITECTURES, 0.002)
DEMO_SAMPLES: dict[Mode, int] = {"rag": 24_000, "cot": 128_000, "direct": 40_000}


def demo() -> list[RunConfig]:
    """The gap in ten minutes on two cores: four architectures of equal size, three views, one problem size."""
    return [_small_cell(mode, 8, arch, DEMO_SAMPLES[mode], DEMO_LR[arch]) for mode in MODES for arch in ARCHITECTURES]


def lr() -> list[RunConfig]:
    """The sweep that the learning rates of `demo` and `cpu` come from: graded on the validation split."""
    return [
        replace(_small_cell(mode, 8, arch, DEMO_SAMPLES[mode], rate), eval_split="validation", eval_samples=1_000)
        for mode in ("cot", "rag")
        for rate in SEARCHED_LR
        for arch in ARCHITECTURES
    ]


def _small_cell(mode: Mode, n: int, arch: str, samples: int, lr: float, seed: int = 0) -> RunConfig:
    """A cell for a laptop: tiny model, learned embedding, small batches (what is learned depends on steps)."""
    return RunConfig(
        task="istree",
        mode=mode,
        n=n,
        arch=arch,
        size="tiny",
        embedding="learned",
        samples=samples,
        batch_size=16,
        lr=lr,
        warmup_samples=3_200,
        max_grad_norm=1.0,
        seed=seed,
        eval_samples=2_000,
    )


def paper() -> list[RunConfig]:
    """The paper's grid with the paper's settings, and the LSTM beside it."""
    return [
        RunConfig(task="istree", mode=mode, n=n, arch=arch, size=size)
        for n in (16, 32, 64, 128)
        for size in ("0.5m", "1m", "2m")
        for mode in MODES
        for arch in ARCHITECTURES
    ]


PRESETS: dict[str, Callable[[], list[RunConfig]]] = {"demo": demo, "lr": lr, "paper": paper}


def preset_cells(name: str) -> list[RunConfig]:
    """Raises UsageError for a name that is no preset."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]()
