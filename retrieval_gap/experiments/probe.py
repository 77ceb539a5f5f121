"""The probe of runs: each model, cut and measured; a table and one JSON object a run, and a table of all as CSV.

A process with one thread probes one run at a time: for models of this size several threads wait for each other more
than they work.
"""

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from retrieval_gap.decoding.retrieval import RetrieverName
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.run import load_model
from retrieval_gap.machine import environment
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_room_for
from retrieval_gap.models import SequenceModel
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.tables.printing import print_wide
from retrieval_gap.tables.rows import Row, write_table
from retrieval_gap.tasks.api import Task
from retrieval_gap.theory.bounds import Bound, bound_of
from retrieval_gap.theory.probe import Carried, ProbeRow, bits_used, cut_of, largest_rank, probe
from retrieval_gap.theory.quantise import Rounding

# The contract of results/*_probe.csv: which run, what was carried, how well it did, what is proved and what it used.
COLUMNS = (
    "task", "family", "mode", "n", "options", "arch", "size", "embedding", "parameters",
    "samples", "batch_size", "lr", "seed", "eval_split", "rounding", "bits", "rank", "state_bits",
    "accuracy", "accuracy_strict", "strict_low", "strict_high", "eval_samples", "ceiling", "bits_needed",
    "bits_used", "bits_used_low", "bits_used_high", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """What is measured of each run.

    samples: of the split that the run reports; None means as many as the run's own.
    bits, ranks: every rank is tried with all of `bits`, rank 0 (the elements themselves) first; a state that has no
    such rank goes without.  seed: of stochastic rounding.
    """

    samples: int | None
    bits: Sequence[int]
    ranks: Sequence[int]
    rounding: Rounding = "nearest"
    seed: int = 0
    retriever: RetrieverName | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is said of a run: each row with its ceiling, as one object, and as rows of a table."""

    rows: list[ProbeRow]
    ceilings: list[float | None]
    told: dict[str, Any]
    table: list[Row]


@dataclass(frozen=True, kw_only=True)
class Probed:
    """A run and its measurements.  trained: samples, of which there are more to come where `status` is not "done"."""

    config: RunConfig
    task: Task
    parameters: int
    trained: int
    status: str
    eval_samples: int
    rounding: Rounding
    bound: Bound | None
    rows: list[ProbeRow]

    @property
    def ceilings(self) -> list[float | None]:
        """The best accuracy of any reader with the bits of each row; None where nothing is proved."""
        return [None if self.bound is None else float(self.bound.ceiling(row.state_bits)) for row in self.rows]

    @property
    def bits_needed(self) -> float | None:
        return None if self.bound is None else self.bound.bits_needed


def probe_runs(
    runs: Sequence[RunDirectory], settings: ProbeSettings, csv: Path | None = None, *, workers: int = 1
) -> None:
    """Prints accuracy against bits carried of every run, and as JSON the same with the bits used and needed; with
    `csv`, replaces that table.

    workers: processes; 0 means one a core.
    Raises UsageError, RunError for a run without weights, a task or model without a state to cut, or no run.
    """
    if not runs:
        raise UsageError("name one run directory or more")
    if csv is not None:
        make_room_for(csv)
    rows: list[Row] = []
    for run, findings in zip(runs, _findings_of(runs, settings, workers or usable_cores()), strict=True):
        if len(runs) > 1:
            print(run.path)
        _print_table(findings.rows, findings.ceilings)
        print(json.dumps(findings.told), flush=True)
        rows += findings.table
    if csv is not None:
        write_table(csv, COLUMNS, rows)
        print(f"{len(rows)} rows written to {csv}")


def _findings_of(runs: Sequence[RunDirectory], settings: ProbeSettings, workers: int) -> Iterator[Findings]:
    """In the order of the runs."""
    work = partial(_findings, settings=settings)
    if min(workers, len(runs)) == 1:
        yield from map(work, runs)
        return
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(min(workers, len(runs)), context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from pool.map(work, runs)
    finally:
        pool.shutdown(cancel_futures=True)


def _findings(run: RunDirectory, settings: ProbeSettings) -> Findings:
    probed = _probed(run, settings)
    return Findings(rows=probed.rows, ceilings=probed.ceilings, told=_told(probed), table=_table_rows(probed))


def _probed(run: RunDirectory, settings: ProbeSettings) -> Probed:
    config, model, progress = load_model(run)
    task, calibration = config.build_task(config.eval_split), config.build_task("train")
    samples = settings.samples or config.eval_samples
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
    return Probed(
        config=config,
        task=task,
        parameters=model.parameter_count(),
        trained=progress.step * config.batch_size,
        status=run.status(),
        eval_samples=samples,
        rounding=settings.rounding,
        bound=_bound_at_the_cut(task),
        rows=rows,
    )


def _cuts(model: SequenceModel, calibration: Task, settings: ProbeSettings) -> Iterator[Carried]:
    most = largest_rank(model, cut_of(calibration))
    for rank in (0, *settings.ranks):
        yield from (Carried(bits=b, rank=rank) for b in settings.bits if rank <= most and (b or not rank))


def _told(probed: Probed) -> dict[str, Any]:
    rows = zip(probed.rows, probed.ceilings, strict=True)
    return asdict(probed.config) | {
        "samples": probed.trained,
        "status": probed.status,
        "eval_samples": probed.eval_samples,
        "rounding": probed.rounding,
        "bits_used": asdict(bits_used(probed.rows)),
        "bits_needed": probed.bits_needed,
        "rows": [asdict(row) | {"ceiling": ceiling} for row, ceiling in rows],
    }


def _table_rows(probed: Probed) -> list[Row]:
    """What is None is an empty field: `bits` of the state as it is, a ceiling where nothing is proved, no upper end."""
    used, machine = bits_used(probed.rows), environment.describe()
    same = asdict(probed.config) | {
        "family": probed.task.family,
        "options": probed.task.config.options,
        "parameters": probed.parameters,
        "samples": probed.trained,
        "lr": probed.config.training().lr,
        "rounding": probed.rounding,
        "eval_samples": probed.eval_samples,
        "bits_needed": probed.bits_needed,
        "bits_used": used.bits,
        "bits_used_low": used.low,
        "bits_used_high": used.high,
        "config_hash": probed.config.hash(),
        **{key: machine[key] for key in ("hardware", "torch", "commit")},
    }
    rows = zip(probed.rows, probed.ceilings, strict=True)
    return [same | asdict(row) | {"ceiling": ceiling} for row, ceiling in rows]


def _bound_at_the_cut(task: Task) -> Bound | None:
    """None where nothing is proved of the place that the probe cuts, or where a search reads the sequence again."""
    try:
        bound = bound_of(task)
    except UsageError:
        return None
    return bound if bound.at_query and task.config.mode != "rag" else None


def _print_table(rows: Sequence[ProbeRow], ceilings: Sequence[float | None]) -> None:
    table = Table("carried", box=None, pad_edge=False)
    for column in ("bits each", "bits in all", "accuracy", "strict", "95 %", "ceiling"):
        table.add_column(column, justify="right")
    for row, ceiling in zip(rows, ceilings, strict=True):
        table.add_row(
            f"{row.rank} components" if row.rank else "elements",
            "as it is" if row.bits is None else str(row.bits),
            f"{row.state_bits:,}",
            f"{row.accuracy:.3f}",
            f"{row.accuracy_strict:.3f}",
            f"{row.strict_low:.3f}-{row.strict_high:.3f}",
            "" if ceiling is None else f"{ceiling:.3f}",
        )
    print_wide(table)
