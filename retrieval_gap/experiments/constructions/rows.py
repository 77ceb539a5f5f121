"""Rows about constructions: accuracy in free decoding, and cost counted from their tensors."""

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval_gap.choices import RetrieverName
from retrieval_gap.decoding.decode import Decoded
from retrieval_gap.decoding.evaluation import decode_batch, evaluate
from retrieval_gap.experiments.constructions.config import Setup
from retrieval_gap.machine import environment
from retrieval_gap.tables.printing import cells_of, print_table
from retrieval_gap.tables.rows import Row, make_room_for_table, save_table
from retrieval_gap.tasks.api import Batch
from retrieval_gap.theory.constructions import Construction
from retrieval_gap.theory.constructions.measure import smallest_precision

FLOAT64 = 64
MOST_AT_ONCE = 128  # samples per batch: more make no step faster
MEASURED_SAMPLES = 20  # most samples on which the fewest bits are measured
MEASURED_TOKENS = 1 << 15  # most tokens of these samples together


def measure(setup: Setup, retriever: RetrieverName | None = None) -> Row:
    """A row of a results table; config.py explains OWN_COLUMNS."""
    started = time.perf_counter()
    construction, task = setup.build(), setup.build_task()
    written: list[NDArray[np.int32]] = []
    longest = 0

    def on_decoded(_: int, gold: Batch, decoded: Decoded, __: NDArray[np.bool_]) -> None:
        nonlocal longest
        written.append(decoded.length_B - gold.prompt_len_B)
        longest = max(longest, int(decoded.length_B.max()))

    evaluation = evaluate(
        construction,
        task,
        setup.samples,
        retriever=retriever if task.config.mode == "rag" else None,
        batch=min(MOST_AT_ONCE, decode_batch(elements(construction, task.max_length) * FLOAT64)),
        on_decoded=on_decoded,
    )
    seconds = time.perf_counter() - started
    few = max(1, min(setup.samples, MEASURED_SAMPLES, MEASURED_TOKENS // task.max_length))
    measured = smallest_precision(setup.build_with, task, setup.stated_bits(), few) if setup.smallest else None
    return {
        "task": task.name,
        "family": task.family,
        "mode": task.config.mode,
        "n": task.config.n,
        "options": task.config.options,
        **cost_columns(construction, setup.how, longest),
        "seed": task.config.seed,
        "eval_split": task.config.split,
        **asdict(evaluation),
        **machine_columns(seconds),
        "config_hash": setup.hash(),
        "theorem": construction.theorem,
        "precision_bits": construction.precision.number_bits,
        "stated_bits": construction.stated_precision,
        "smallest_bits": measured,
        "parameter_bits": construction.parameter_bits(),
        "computed_numbers": construction.computed_count(longest),
        "recurrent_bits": construction.recurrent_bits(),
        "steps": float(np.concatenate(written).mean()),
        "context_tokens": longest,
        **setup.own_columns(),
    }


def tabulate(
    setups: Sequence[Setup],
    csv: Path | None,
    retriever: RetrieverName | None,
) -> list[Row]:
    """Measure these setups and return their rows; with `csv`, replace that table.

    Raises UsageError or TaskError, before anything is measured, if one of them cannot be built.
    """
    for setup in setups:
        setup.validate()
    if csv is not None:
        make_room_for_table(csv, Setup.columns)
    rows = []
    for setup in setups:
        if len(setups) > 1:
            print(setup.label(), file=sys.stderr, flush=True)
        rows.append(measure(setup, retriever))
    if csv is not None:
        save_table(csv, Setup.columns, rows)
    return rows


def cost_columns(construction: Construction, how: str, length: int) -> Row:
    """The contract's columns about the model, which is not trained: size, state, 0 samples."""
    precision = construction.precision
    return {
        "arch": f"constructed_{how}",
        "size": "constant",
        "embedding": "computed",
        "parameters": construction.parameter_count(),
        "state_bits": construction.state_bits(length),
        "samples": 0,
        "precision": "fp64" if precision.bits is None else f"{precision.bits} bits",
    }


def machine_columns(seconds: float) -> Row:
    """The contract's columns about the machine."""
    return {
        "wall_s": round(seconds, 1),
        "threads": torch.get_num_threads(),
        **environment.measured_on(),
    }


def elements(construction: Construction, length: int) -> int:
    """Numbers in the state of one sample."""
    return construction.state_bits(length) // construction.precision.number_bits


def print_rows(rows: Sequence[Row]) -> None:
    """Print a line per row, and below what was run with fewer bits per number than stated."""
    print_table(cells_of([_line(row) for row in rows]), left=["task", "family", "how", "theorem"])
    fewer = sorted({f"{row['task']}, n = {row['n']}" for row in rows if row["precision_bits"] < row["stated_bits"]})
    if fewer:
        print(f"fewer bits a number than stated: {'; '.join(fewer)}")


def _line(row: Row) -> dict[str, str]:
    smallest = row["smallest_bits"]
    return {
        "task": row["task"],
        "family": row["family"],
        "n": str(row["n"]),
        "how": row["arch"].removeprefix("constructed_"),
        "theorem": row["theorem"],
        "accuracy": f"{row['accuracy']:.3f}",
        "exact": f"{row['exact_trace']:.3f}",
        "steps": f"{row['steps']:,.1f}",
        "bits/number": str(row["precision_bits"]),
        "stated": str(row["stated_bits"]),
        "smallest": "" if smallest is None else str(smallest),
        "parameters": f"{row['parameters']:,}",
        "state bits": f"{row['state_bits']:,}",
        "s": f"{row['wall_s']:.1f}",
    }
