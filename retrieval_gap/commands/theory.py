"""`retrieval-gap bound` and `probe`: bits of state that a task needs, and that a model uses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, Suppress, arg

from retrieval_gap.commands.flags import (
    Changed,
    Family,
    Retriever,
    RunWorkers,
    TestSamples,
    check_samples,
    whole_numbers,
)
from retrieval_gap.experiments.trained.config import ProblemSize
from retrieval_gap.machine.errors import UsageError

MAX_BITS, MAX_RANK = 2**63 - 1, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class BoundCommand:
    """Print the best accuracy possible for any model with so many bits of state (proof in docs/theory.md); with `--mode
    rag`, the largest share of traces that it can write exactly while it searches. A task's own options are flags
    too."""

    task: Annotated[Positional[str], arg(metavar="TASK", help="a task's name")]
    n: ProblemSize
    bits: Annotated[str, arg(help="bits of state, such as 16, or several: 0,4,16")]
    mode: Annotated[Literal["direct", "rag"], arg(help="whether the model answers at once or searches")] = "direct"
    family: Family = ""
    options: Suppress[str] = ""

    def run(self) -> None:
        from retrieval_gap.tasks.api import TaskConfig
        from retrieval_gap.tasks.registry import load_task
        from retrieval_gap.theory.bounds import bound_of

        bits = whole_numbers("--bits", self.bits, 0, MAX_BITS)
        task = load_task(self.task)(TaskConfig(n=self.n, mode=self.mode, family=self.family, options=self.options))
        bound = bound_of(task)
        if self.mode == "rag":
            shares = bound.exact_search(bits)
            needed = f"all traces of a search take {bound.search_states} states"
            print(f"{self.task}, {bound.what}: {needed}; no reader's share of exact traces is above")
            print(*(f"{b} bits: {share}" for b, share in zip(bits, shares, strict=True)), sep="\n")
            return
        needed = f"no reader is always right with fewer than {bound.bits_needed:,.6g} bits of state"
        print(f"{self.task}, {bound.what}: {needed}; no reader's accuracy is above")
        for b in bits:
            whole = "" if bound.exact_trace is None else f" of answers, {bound.exact_trace(b)} of whole traces"
            print(f"{b} bits: {bound.ceiling(b)}{whole}")


@dataclass(frozen=True, kw_only=True)
class ProbeCommand:
    """Measure how many bits of its state a model uses: cut the state to fewer bits after the prompt, then decode.
    Prints accuracy for each number of bits. Finished measurements are not repeated."""

    run_dirs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN_DIR...")]
    samples: TestSamples = 0
    bits: Annotated[str, arg(help="bits per element: 0 to 16; 0 replaces it by its mean")] = "0,1,2,3,4,6,8,16"
    ranks: Annotated[
        str,
        arg(help='principal components to keep instead of elements; "" means none'),
    ] = "4,16,64"
    rounding: Annotated[Literal["nearest", "stochastic"], arg(help="how elements are rounded to their levels")] = (
        "nearest"
    )
    seed: Annotated[int, arg(help="seed for stochastic rounding")] = 0
    retriever: Retriever = None
    changed_files: Changed = "refuse"
    workers: RunWorkers = 0
    json: Annotated[bool, arg(help="print JSON, one object per row, instead of tables")] = False
    csv: Annotated[Path | None, arg(help="also write the rows of all runs to this CSV file")] = None

    def run(self) -> None:
        from retrieval_gap.commands.measured import show_measured
        from retrieval_gap.experiments import probe
        from retrieval_gap.theory.quantise import MOST_BITS

        check_samples(self.samples)
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed} is out of range: expected 0 to 2**63 - 1")
        settings = {
            "samples": self.samples,
            "bits": tuple(whole_numbers("--bits", self.bits, 0, MOST_BITS)),
            "ranks": tuple(whole_numbers("--ranks", self.ranks, 1, MAX_RANK)) if self.ranks else (),
            "rounding": self.rounding,
            "seed": self.seed,
            "retriever": self.retriever,
        }
        show_measured(probe.Probe, self.run_dirs, settings, self)
