"""The preset `smallest_lstm`: how small a trained state can be and still search without error.

docs/constructions.md compares the smallest exact one with the construction of theorem 5.2.
"""

from retrieval_gap.experiments.trained.config import RunConfig

SEEDS = range(3)
N = 64
WIDTHS = (16, 8, 4, 12, 6, 3, 2, 1)  # of h and of c: 64 bits per unit
BATCH, STEPS, WARMUP_STEPS = 64, 4_000, 100
TASKS = {"index": "values=4", "associative_recall": "values=4"}


def smallest_lstm() -> list[RunConfig]:
    """An hour on one core: LSTMs of 64 to 1,024 bits that search, n = 64."""
    return [
        RunConfig(
            task=task,
            options=options,
            mode="rag",
            n=N,
            arch="lstm",
            size=f"tiny+n_layers=1+d_hidden={width}",
            embedding="learned",
            samples=STEPS * BATCH,
            batch_size=BATCH,
            lr=1e-2,
            warmup_samples=WARMUP_STEPS * BATCH,
            max_grad_norm=1.0,
            seed=seed,
            eval_samples=1_000,
        )
        for seed in SEEDS
        for width in WIDTHS
        for task, options in TASKS.items()
    ]


PRESETS = {"smallest_lstm": smallest_lstm}
