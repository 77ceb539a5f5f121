"""Presets for both halves of the card: where a fixed state is too small, where it is the right tool, and where neither
shows, since a model has not learned.

Demos take minutes on two idle cores; each but `card_demo`, which shows all side by side, has a larger version for a
night.  Batches, warm-up, clipping and precision are the same for all models; learning rates are those of theory.py, or
are chosen anew (`--choose lr`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.tasks.api import Mode

BATCH, WARMUP_STEPS, EVAL_SAMPLES = 32, 100, 1_000
ATTENDING, RECURRENT = ("transformer",), ("lstm", "mamba", "gated_deltanet")
DEMO_MODELS = ("transformer", "lstm", "mamba")  # a step of the others takes several times as long on a CPU
TRACKING = ("transformer", "lstm", "mamba", "mamba2+rotation=data", "gated_deltanet", "gated_deltaproduct")
RATE, LSTM_RATE = 3e-3, 1e-2
RATES = (1e-3, 3e-3, 1e-2)  # to begin with: `--choose lr` adds half decades if the best is at an edge
GROUPS, NIGHT_GROUPS = ("Z2", "S3"), ("Z2", "S3", "A5", "S5")
# Widths whose states have from a fraction of the bits to be carried to many times as many.
LSTM_SIZES = tuple(f"tiny+n_layers=1+d_hidden={width}" for width in (1, 8, 64))
PATH_VIEWS: tuple[tuple[Mode, str], ...] = (("direct", ""), ("cot", ""), ("rag", "calls=one"), ("rag", ""))


@dataclass(frozen=True, kw_only=True)
class CardProblem:
    """A task with its settings in the grids here."""

    task: str
    n: int
    options: str = ""
    mode: Mode = "direct"


def lr_window_demo() -> list[RunConfig]:
    """Associative recall at n = 8, three rates (for `--choose lr`, which adds more): three architectures, two seeds."""
    problem = CardProblem(task="associative_recall", n=8)
    return _grid([problem], DEMO_MODELS, steps=600, rates=RATES, seeds=(0, 1))


def lr_window_cpu() -> list[RunConfig]:
    """The same at n = 16, trained longer, with ten architectures: some hours on one core."""
    problem = CardProblem(task="associative_recall", n=16)
    archs = (*ATTENDING, *RECURRENT, "gru", "gla", "mamba2", "gated_deltaproduct", "mamba+conv=4", "transformer+conv=4")
    return _grid([problem], archs, steps=2_000, rates=RATES, seeds=(0, 1))


def query_first_demo() -> list[RunConfig]:
    """Index and position retrieval, with the query last and first: LSTMs of three widths, and a Mamba."""
    return list(_query_first((8, 24), ("index", "position_retrieval"), steps=1_000, seeds=(0,)))


def query_first_cpu() -> list[RunConfig]:
    """All tasks with a query, up to n = 64, longer training, three seeds."""
    tasks = ("index", "associative_recall", "cgram_retrieval", "position_retrieval")
    return list(_query_first((8, 16, 32, 64), tasks, steps=6_000, seeds=(0, 1, 2)))


def tracking_demo() -> list[RunConfig]:
    """Products of 8 elements of Z2 and S3, asked for at each element; for tests at other lengths (`transfer`)."""
    problems = [CardProblem(task="word_problem", n=8, options=f"group={group} ask=each") for group in GROUPS]
    return _grid(problems, TRACKING, steps=1_000, size="tiny+n_layers=1")


def tracking_cpu() -> list[RunConfig]:
    """Four groups, 32 elements, one layer and two, three seeds."""
    problems = [CardProblem(task="word_problem", n=32, options=f"group={group} ask=each") for group in NIGHT_GROUPS]
    return [
        cell
        for layers in (1, 2)
        for cell in _grid(problems, TRACKING, steps=8_000, size=f"tiny+n_layers={layers}", seeds=(0, 1, 2))
    ]


def last_write_demo() -> list[RunConfig]:
    """Four variables of four values, 16 to 64 tokens of assignments: a state of 8 bits is enough at every length."""
    problems = [CardProblem(task="last_write", n=n, options="variables=4 values=4") for n in (16, 32, 64)]
    return _grid(problems, DEMO_MODELS, steps=1_000)


def last_write_cpu() -> list[RunConfig]:
    """Four, eight and sixteen variables, up to 256 tokens, three seeds."""
    problems = [
        CardProblem(task="last_write", n=n, options=f"variables={m} values=8")
        for m in (4, 8, 16)
        for n in (32, 64, 128, 256)
    ]
    return _grid(problems, (*ATTENDING, *RECURRENT), steps=6_000, seeds=(0, 1, 2))


def find_path_demo() -> list[RunConfig]:
    """Graphs of 10 nodes with names for 40, answered in four ways; for tests on larger ones (`transfer`)."""
    return list(_find_path(DEMO_MODELS, names=40, steps=1_000, seeds=(0,)))


def find_path_cpu() -> list[RunConfig]:
    """The same with names for 1,000, longer training, three seeds."""
    return list(_find_path((*ATTENDING, *RECURRENT), names=1_000, steps=10_000, seeds=(0, 1, 2)))


def card_demo() -> list[RunConfig]:
    """One problem of each kind for six models, as `fig_card` shows them side by side.  One is an LSTM of one unit,
    whose 64 bits are too few for the first problem."""
    problems = [
        CardProblem(task="index", n=24),
        CardProblem(task="index", n=24, options="query=first"),
        CardProblem(task="associative_recall", n=8),
        CardProblem(task="last_write", n=16, options="variables=4 values=4"),
        CardProblem(task="word_problem", n=8, options="group=S3 ask=each"),
        CardProblem(task="find_path", n=10, mode="rag"),
    ]
    models = ("transformer", "hybrid", "lstm+n_layers=1+d_hidden=1", "lstm", "mamba", "gated_deltaproduct")
    return _grid(problems, models, steps=600)


PRESETS: dict[str, Callable[[], list[RunConfig]]] = {
    preset.__name__: preset
    for preset in (
        lr_window_demo,
        lr_window_cpu,
        query_first_demo,
        query_first_cpu,
        tracking_demo,
        tracking_cpu,
        last_write_demo,
        last_write_cpu,
        find_path_demo,
        find_path_cpu,
        card_demo,
    )
}


def _query_first(ns: Sequence[int], tasks: Sequence[str], steps: int, seeds: Sequence[int]) -> Iterator[RunConfig]:
    for seed in seeds:
        for task in tasks:
            for n in ns:
                for query in ("last", "first"):
                    problem = CardProblem(task=task, n=n, options="query=first" if query == "first" else "")
                    for size in LSTM_SIZES:
                        yield _cell(problem, "lstm", size, LSTM_RATE, seed, steps)
                    yield _cell(problem, "mamba", "tiny+n_layers=1+d_model=32", RATE, seed, steps)


def _find_path(archs: Sequence[str], names: int, steps: int, seeds: Sequence[int]) -> Iterator[RunConfig]:
    for seed in seeds:
        for mode, calls in PATH_VIEWS:
            problem = CardProblem(task="find_path", n=10, mode=mode, options=f"names={names} {calls}".strip())
            for arch in archs:
                yield _cell(problem, arch, "tiny", _rate(arch), seed, steps)


def _grid(
    problems: Sequence[CardProblem],
    archs: Sequence[str],
    *,
    steps: int,
    size: str = "tiny",
    rates: Sequence[float] = (),
    seeds: Sequence[int] = (0,),
) -> list[RunConfig]:
    """Every problem with every architecture; changes follow an architecture's name as they follow a size's."""
    cells = []
    for seed in seeds:
        for problem in problems:
            for named in archs:
                arch, *changes = named.split("+")
                for rate in rates or (_rate(arch),):
                    cells.append(_cell(problem, arch, "+".join([size, *changes]), rate, seed, steps))
    return cells


def _rate(arch: str) -> float:
    return LSTM_RATE if arch in ("lstm", "gru") else RATE


def _cell(problem: CardProblem, arch: str, size: str, lr: float, seed: int, steps: int) -> RunConfig:
    return RunConfig(
        task=problem.task,
        options=problem.options,
        mode=problem.mode,
        n=problem.n,
        arch=arch,
        size=size,
        embedding="learned",
        samples=steps * BATCH,
        batch_size=BATCH,
        lr=lr,
        warmup_samples=WARMUP_STEPS * BATCH,
        max_grad_norm=1.0,
        seed=seed,
        eval_samples=EVAL_SAMPLES,
    )
