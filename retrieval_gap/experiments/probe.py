"""The probe of a run: its model, cut and measured; a table, and one JSON object."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from retrieval_gap.errors import UsageError
from retrieval_gap.experiments.results import print_wide
from retrieval_gap.experiments.run import RunDirectory, load_model
from retrieval_gap.retrieval import RetrieverName
from retrieval_gap.theory.bounds import Bound, bound_of
from retrieval_gap.theory.probe import Carried, ProbeRow, bits_used, probe
from retrieval_gap.theory.quantise import Rounding
from tasks.api import Task


def probe_run(
    run: RunDirectory,
    samples: int | None,
    *,
    bits: Sequence[int],
    ranks: Sequence[int],
    rounding: Rounding,
    seed: int,
    retriever: RetrieverName | None,
) -> None:
    """Prints accuracy against bits carried, and as JSON the same with the bits used and needed.

    Every rank is tried with all of `bits`, rank 0 (the elements themselves) first.
    Raises UsageError, RunError for a run without weights, or a task or model without a state to cut.
    """
    config, model, progress = load_model(run)
    task = config.build_task(config.eval_split)
    carried = [Carried(bits=b, rank=rank) for rank in (0, *ranks) for b in bits if b or not rank]
    rows = probe(
        model,
        task,
        config.build_task("train"),
        samples or config.eval_samples,
        carried,
        rounding=rounding,
        seed=seed,
        retriever=retriever,
    )
    bound = _bound_at_the_cut(task)
    ceilings = [None if bound is None else float(bound.ceiling(row.state_bits)) for row in rows]
    _print_table(rows, ceilings)
    told = asdict(config) | {
        "samples": progress.step * config.batch_size,
        "status": run.status(),
        "eval_samples": samples or config.eval_samples,
        "rounding": rounding,
        "bits_used": asdict(bits_used(rows)),
        "bits_needed": None if bound is None else bound.bits_needed,
        "rows": [asdict(row) | {"ceiling": ceiling} for row, ceiling in zip(rows, ceilings, strict=True)],
    }
    print(json.dumps(told))


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
