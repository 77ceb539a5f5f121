"""The probe of a trained run: cut its model at the end of the sequence and carry on fewer bits of its state.

Rows compare accuracy by bits of state with the ceiling of the theory, and the bits used with the bits needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from retrieval_gap.choices import RetrieverName
from retrieval_gap.experiments.of_run import OfRun
from retrieval_gap.machine import environment
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Progress, Row, RunOptions
from retrieval_gap.theory.quantise import Rounding

# The contract of results/*_probe.csv: the run, what was carried, its accuracy, what is proved and the bits used.
COLUMNS = (
    "task", "family", "mode", "n", "options", "arch", "size", "embedding", "parameters",
    "samples", "batch_size", "lr", "warmup_samples", "max_grad_norm", "precision", "curriculum",
    "seed", "eval_split", "rounding", "bits", "rank", "state_bits",
    "state_bits_per_token",
    "accuracy", "accuracy_strict", "strict_low", "strict_high", "eval_samples", "ceiling", "bits_needed",
    "bits_used", "bits_used_low", "bits_used_high", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Probe(OfRun):
    """What to measure of a run.

    samples: how many, from the split that the run reports; 0 means as many as the run's own.
    bits, ranks: every rank that the state has is tried with all of `bits`, rank 0 (the elements themselves) first; 0
    bits only with rank 0.  seed: of stochastic rounding.
    """

    kind: ClassVar[str] = "probe"
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("accuracy", "state_bits", "ceiling")

    samples: int = 0
    bits: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 16)
    ranks: tuple[int, ...] = (4, 16, 64)
    rounding: Rounding = "nearest"
    seed: int = 0
    retriever: RetrieverName | None = None

    def filter_values(self) -> Mapping[str, Any]:
        return {"run": self.run, "samples": self.samples, "rounding": self.rounding, "seed": self.seed}

    def shown_values(self, row: Row) -> dict[str, str]:
        return {
            "carried": f"{row['rank']} components" if row["rank"] else "elements",
            "bits each": "as it is" if row["bits"] is None else str(row["bits"]),
            "bits in all": f"{row['state_bits']:,}",
            "accuracy": f"{row['accuracy']:.3f}",
            "strict": f"{row['accuracy_strict']:.3f}",
            "95 %": f"{row['strict_low']:.3f}-{row['strict_high']:.3f}",
            "ceiling": "" if row["ceiling"] is None else f"{row['ceiling']:.3f}",
        }

    def progress(self, run: RunDirectory) -> Progress:
        return Progress(done=0, total=1, unit="probes", doing="probing")

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        return probe_rows(self)


EXPERIMENT = Probe


def probe_rows(settings: Probe) -> list[Row]:
    """The rows.  None is an empty field: `bits` of the unchanged state, a ceiling not proved, no upper end.

    Raises UsageError or RunError for a run without weights, or a task or model without a state to cut.
    """
    from retrieval_gap.experiments.trained.run import Trained, described, load_model
    from retrieval_gap.theory.probe import bits_used, probe

    config, model, progress = load_model(RunDirectory(Path(settings.run_dir)))
    task, calibration = config.build_task(config.eval_split), config.build_task("train")
    samples = task.to_evaluate(settings.samples or config.eval_samples)
    rows = probe(
        model,
        task,
        calibration,
        samples,
        list(_cuts(model, calibration, settings)),
        rounding=settings.rounding,
        seed=settings.seed,
        retriever=settings.retriever,
    )
    used, bound = bits_used(rows), _bound_at_the_cut(task)
    same = described(config, task, Trained(model, progress.step * config.batch_size)) | {
        "rounding": settings.rounding,
        "eval_samples": samples,
        "bits_needed": None if bound is None else bound.bits_needed,
        "bits_used": used.bits,
        "bits_used_low": used.low,
        "bits_used_high": used.high,
        **environment.measured_on(),
    }
    told = [
        same | asdict(row) | {"ceiling": None if bound is None else float(bound.ceiling(row.state_bits))}
        for row in rows
    ]
    return [{column: row[column] for column in COLUMNS} for row in told]


def _cuts(model: Any, calibration: Any, settings: Probe) -> Iterator[Any]:
    from retrieval_gap.theory.probe import Carried, cut_of, largest_rank

    most = largest_rank(model, cut_of(calibration))
    for rank in (0, *settings.ranks):
        yield from (Carried(bits=b, rank=rank) for b in settings.bits if rank <= most and (b or not rank))


def _bound_at_the_cut(task: Any) -> Any:
    """The bound, or None if nothing is proved about the place of the cut, or a search reads the sequence again."""
    from retrieval_gap.theory.bounds import bound_of

    try:
        bound = bound_of(task)
    except UsageError:
        return None
    return bound if bound.at_query and task.config.mode != "rag" else None
