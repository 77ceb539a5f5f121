"""Presets: functions that return the cells of a grid, the most telling first."""

from collections.abc import Callable

from retrieval_gap.errors import unknown
from retrieval_gap.experiments.config import RunConfig
from tasks.api import Mode

ARCHITECTURES = ("transformer", "hybrid", "mamba", "lstm")
DEMO_SAMPLES: dict[Mode, int] = {"rag": 24_000, "cot": 80_000, "direct": 40_000}


def demo() -> list[RunConfig]:
    """The gap in ten minutes on two cores: four architectures of equal size, three views, one problem size."""
    return [
        RunConfig(
            task="istree",
            mode=mode,
            n=8,
            arch=arch,
            size="tiny",
            embedding="learned",
            samples=samples,
            batch_size=16,
            lr=3e-3,
            warmup_samples=3_200,
            max_grad_norm=1.0,
            eval_samples=1_000,
        )
        for mode, samples in DEMO_SAMPLES.items()
        for arch in ARCHITECTURES
    ]


def paper() -> list[RunConfig]:
    """The paper's grid with the paper's settings, and the LSTM beside it."""
    modes: tuple[Mode, ...] = ("direct", "cot", "rag")
    return [
        RunConfig(task="istree", mode=mode, n=n, arch=arch, size=size)
        for n in (16, 32, 64, 128)
        for size in ("0.5m", "1m", "2m")
        for mode in modes
        for arch in ARCHITECTURES
    ]


PRESETS: dict[str, Callable[[], list[RunConfig]]] = {"demo": demo, "paper": paper}


def preset_cells(name: str) -> list[RunConfig]:
    """Raises UsageError for a name that is no preset."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]()
