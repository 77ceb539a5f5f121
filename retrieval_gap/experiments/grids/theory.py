"""Presets in which a bound applies: recurrent models whose state is too small for what they must carry, against n.

All also run a small recurrent model that searches (`rag`); all but `theory_bits_cpu`, models with one attention layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.tasks.api import Mode

SEEDS = range(3)
BATCH, WARMUP_STEPS = 64, 100
LEARNING_RATES = {"lstm": 1e-2, "gru": 3e-3, "mamba": 3e-3, "transformer": 3e-3, "hybrid": 3e-3}
# 64 bits per unit: an LSTM carries h and c, 32 bits each.
DEMO_WIDTHS, CPU_WIDTHS = (1, 4, 16, 64), (1, 2, 4, 8, 16, 32, 64)
SEARCHING_WIDTHS = (16, 8, 4, 12, 6, 3, 2, 1)
# Training steps; attention, which learns these tasks sooner, gets half.
DEMO_STEPS, CPU_STEPS = 1_000, 4_000
# The search has to repeat the position asked for: an LSTM of 4 units does not learn that in so many steps.
SEARCHING = ("lstm", "tiny+n_layers=1+d_hidden=16")
ATTENTION = (("transformer", "tiny+n_layers=1"), ("hybrid", "tiny+n_layers=1"))
SMALL_MAMBAS = (("mamba", "tiny+n_layers=1+d_model=4+d_state=2"), ("mamba", "tiny+n_layers=1+d_model=16+d_state=4"))
# Bits of states rounded in training: around the n log2(4) bits of Index and the n / 2 log2(4) of recall.
BITS, BITS_TASKS = (8, 16, 4, 2, 32), ("associative_recall", "index")
BITS_CURRICULA = {8: "6", 16: "6+8"}  # by problem size
# With a search, fewer bits than the sequence has (64 and 128), down to one less than the question has (5 and 6).
SEARCHED_N, SEARCHING_BITS = 64, {"associative_recall": (32, 16, 8, 6, 5, 4), "index": (32, 16, 8, 7, 6, 5)}
SHIFTS = (0, 2)  # each bit stays in its place, or moves on by a letter's two
CPU_TASKS = {"index": "values=4", "associative_recall": "values=4", "counting": "most=2"}

Model = tuple[str, str]


def theory_demo() -> list[RunConfig]:
    """Three to ten minutes on 2 cores: Index over 4 letters, n = 8 to 40 (16 to 80 bits), LSTMs of 64 to 4,096 bits."""
    return list(_grid({"index": "values=4"}, (8, 16, 40), _lstms(DEMO_WIDTHS), DEMO_STEPS))


def theory_cpu() -> list[RunConfig]:
    """A night: three tasks, n = 8 to 512, LSTMs of 64 to 4,096 bits and two small Mambas, longer training."""
    recurrent = (*_lstms(CPU_WIDTHS), *SMALL_MAMBAS)
    return list(_grid(CPU_TASKS, (8, 16, 32, 64, 128, 256, 512), recurrent, CPU_STEPS))


def theory_bits_cpu() -> list[RunConfig]:
    """Five hours on one core: GRUs that carry 2 to 32 bits, in place or as a queue, trained as long as the LSTMs of
    `theory_cpu`; with seed 0 those of 8 and 16 bits also with a curriculum.  And GRUs that search, with fewer bits than
    the sequence has."""
    every = [(seed, n, bits, "") for seed in SEEDS for n in BITS_CURRICULA for bits in BITS]
    every += [(0, n, bits, curriculum) for n, curriculum in BITS_CURRICULA.items() for bits in BITS[:2]]
    alone = [
        replace(_cell(task, CPU_TASKS[task], "direct", n, _gru(bits, shift), CPU_STEPS, seed), curriculum=curriculum)
        for seed, n, bits, curriculum in every
        for task in BITS_TASKS
        for shift in SHIFTS
        if shift < bits
    ]
    searching = [
        _cell(task, CPU_TASKS[task], "rag", SEARCHED_N, _gru(bits, 0), CPU_STEPS, seed)
        for seed in SEEDS
        for task in BITS_TASKS
        for bits in SEARCHING_BITS[task]
    ]
    return [*alone, *searching]


def smallest_lstm() -> list[RunConfig]:
    """An hour on one core: LSTMs of 64 to 1,024 bits that search, n = 64.  docs/constructions.md compares the smallest
    that is always right with the construction of theorem 5.2."""
    return [
        _cell(task, CPU_TASKS[task], "rag", SEARCHED_N, model, CPU_STEPS, seed)
        for seed in SEEDS
        for model in _lstms(SEARCHING_WIDTHS)
        for task in ("index", "associative_recall")
    ]


def _gru(bits: int, shift: int) -> Model:
    return "gru", f"tiny+n_layers=1+bits={bits}" + (f"+shift={shift}" if shift else "")


def _lstms(widths: Sequence[int]) -> list[Model]:
    return [("lstm", f"tiny+n_layers=1+d_hidden={width}") for width in widths]


def _grid(tasks: dict[str, str], ns: Sequence[int], recurrent: Sequence[Model], steps: int) -> Iterator[RunConfig]:
    for seed in SEEDS:
        for task, options in tasks.items():
            for n in ns:
                for model in recurrent:
                    yield _cell(task, options, "direct", n, model, steps, seed)
                for model in ATTENTION:
                    yield _cell(task, options, "direct", n, model, steps // 2, seed)
                yield _cell(task, options, "rag", n, SEARCHING, steps, seed)


def _cell(task: str, options: str, mode: Mode, n: int, model: Model, steps: int, seed: int) -> RunConfig:
    arch, size = model
    return RunConfig(
        task=task,
        options=options,
        mode=mode,
        n=n,
        arch=arch,
        size=size,
        embedding="learned",
        samples=steps * BATCH,
        batch_size=BATCH,
        lr=LEARNING_RATES[arch],
        warmup_samples=WARMUP_STEPS * BATCH,
        max_grad_norm=1.0,
        seed=seed,
        eval_samples=1_000,
    )


PRESETS = {
    "theory_demo": theory_demo,
    "theory_cpu": theory_cpu,
    "theory_bits_cpu": theory_bits_cpu,
    "smallest_lstm": smallest_lstm,
}
