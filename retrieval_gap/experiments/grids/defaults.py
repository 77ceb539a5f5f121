"""Preset: the sweep that the default learning rates of `train` come from (docs/training.md)."""

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.tasks.api import Mode

RATES = (1e-3, 3e-3, 1e-2)
PROBLEMS: tuple[tuple[str, Mode, int], ...] = (
    ("associative_recall", "direct", 8),
    ("index", "direct", 8),
    ("istree", "cot", 5),
)
STEPS, BATCH, WARMUP_STEPS, EVAL_SAMPLES = 200, 16, 10, 500


def defaults() -> list[RunConfig]:
    """Every built-in architecture at three rates on three tasks: tiny, one seed, few samples, validation split."""
    from retrieval_gap.models import ARCHITECTURES

    return [
        RunConfig(
            task=task,
            mode=mode,
            n=n,
            arch=arch,
            size="tiny",
            embedding="learned",
            samples=STEPS * BATCH,
            batch_size=BATCH,
            lr=rate,
            warmup_samples=WARMUP_STEPS * BATCH,
            max_grad_norm=1.0,
            eval_samples=EVAL_SAMPLES,
            eval_split="validation",
        )
        for task, mode, n in PROBLEMS
        for arch in ARCHITECTURES
        for rate in RATES
    ]


PRESETS = {"defaults": defaults}
