"""Default settings of training on the command line: those that work at small sizes, or all of the paper's.

The small ones follow from results/defaults.csv, by the rule of docs/training.md, and from
results/istree_tuned_lr.csv (models of half a million parameters).  The paper's are the defaults of `RunConfig`; with
its frozen sinusoidal embedding small tasks are not learned in minutes (README, "Train your first model").
"""

from collections.abc import Mapping
from typing import Any

from retrieval_gap.experiments.trained.config import RunConfig

SAMPLES, BATCH_SIZE, EVAL_SAMPLES = 64_000, 32, 1_000
MAX_GRAD_NORM = 1.0
WARMUP_SHARE = 0.05  # of the samples
# The peak learning rate by model size, the same for every architecture.
SMALL_LR, LARGE_LR = 3e-3, 1e-3
LARGE = ("1m", "2m")


def with_defaults(given: Mapping[str, Any], *, paper: bool = False) -> RunConfig:
    """A run's configuration from some of its fields; those that are None or absent are filled in.

    paper: fill in the paper's settings, else those that work at small sizes.
    Raises UsageError for an invalid value.
    """
    named = {name: value for name, value in given.items() if value is not None}
    return RunConfig(**named if paper else small_settings(named) | named)


def small_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that work at small sizes, for a run with these fields given."""
    samples = int(given.get("samples", SAMPLES))
    batch_size = int(given.get("batch_size", min(BATCH_SIZE, max(1, samples))))
    large = str(given.get("size", "")).partition("+")[0] in LARGE
    return {
        "embedding": "learned",
        "samples": samples,
        "batch_size": batch_size,
        "lr": LARGE_LR if large else SMALL_LR,
        "warmup_samples": int(samples * WARMUP_SHARE),
        "max_grad_norm": MAX_GRAD_NORM,
        "eval_samples": EVAL_SAMPLES,
    }
