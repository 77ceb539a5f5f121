"""Made-up sources of a report: run directories with curves and samples, and tables, some of whose text is hostile."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.trained.rows import SAME
from retrieval_gap.llm.config import LLMConfig
from retrieval_gap.machine import environment
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory.settings import Settings
from tests.tables.result_rows import full_row, write_full
from tests.training.test_loop import CONFIG

OWN = (*SAME, "lr", "samples")  # columns that are also keys of the run's configuration
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


def sample(**changes: Any) -> dict[str, Any]:
    """A decoded sample of the view rag that goes wrong at its third token, in a search."""
    written = ["4", "[STARTSEARCH]", "7", "-", "[ENDSEARCH]", "[FAILED]", "[EOS]", "[TRUE]"]
    gold = ["4", "[STARTSEARCH]", "4", "-", "[ENDSEARCH]", "2", "[EOS]", "[FALSE]"]
    told = {"index": 3, "prompt": ["[BOS]", "4", "-", "2", "[EOS]"], "written": written, "gold": gold}
    return told | {"by": "mmmmmrmm", "departs": 2, "left_out": [0, 0, 0], "right": False} | changes


def finished_run(runs_dir: Path, samples: list[dict[str, Any]], **changes: Any) -> RunDirectory:
    """A finished run with a learning curve of 120 reports; `changes` replace values of its row."""
    config = replace(CONFIG, seed=len(list(runs_dir.glob("*"))) if runs_dir.exists() else 0)
    config = replace(
        config,
        **{key: value for key, value in changes.items() if key in OWN and type(value) is type(getattr(config, key))},
    )
    run = RunDirectory.of(config, runs_dir)
    run.create(config, {**environment.describe(), "threads": 1, "scan_backend": "naive", "ranks": 1})
    row = full_row(**{key: getattr(config, key) for key in OWN} | changes)
    run.result.write_text(json.dumps(row | {"config_hash": config.hash()}))
    reports = [
        {"step": s, "samples": 8 * s, "wall_s": s / 10, "loss": 2 / s} | ({"accuracy": s / 120} if s % 24 == 0 else {})
        for s in range(1, 121)
    ]
    run.metrics.write_text("".join(json.dumps(report) + "\n" for report in reports))
    run.samples.write_text("".join(json.dumps(told) + "\n" for told in samples))
    return run


def memory_run(runs_dir: Path, method: str = "llm_as_rnn", rule: str = "note_taker") -> RunDirectory:
    """A finished memory run of two streams of six cues each; its first feedback is hostile."""
    cell = MemoryCell(
        benchmark="drift",
        method=method,
        streams=2,
        steps=6,
        settings=Settings(budget=24),
        model=LLMConfig(model=f"scripted:{rule}"),
    )
    perform(cell, RunOptions(runs_dir=runs_dir, threads=1))
    run = RunDirectory.of(cell, runs_dir)
    head, first, *others = (run.path / STEPS).read_text().splitlines()
    told = json.loads(first) | {"feedback": HOSTILE}
    (run.path / STEPS).write_text("\n".join((head, json.dumps(told), *others)) + "\n")
    return run


def several_rows() -> list[dict[str, Any]]:
    """Two tasks, three views, four architectures, two problem sizes; accuracies all different."""
    cells = [(mode, arch, n) for mode in ("direct", "cot", "rag") for arch in ("mamba", "lstm") for n in (8, 16)]
    rows = [
        full_row(mode=mode, arch=arch, n=n, size="tiny", accuracy=round(0.5 + i / 50, 3))
        for i, (mode, arch, n) in enumerate(cells)
    ]
    return [*rows, full_row(task="index", family="default", options="values=4", arch="gru", accuracy=0.93)]


def hostile_row() -> dict[str, Any]:
    return full_row(task=HOSTILE, options=HOSTILE, arch=f"{HOSTILE}.py", hardware=HOSTILE, commit='"onload=alert(1)')


def sources(folder: Path) -> tuple[Path, Path]:
    """A folder of runs and a table."""
    finished_run(
        folder / "runs",
        [sample(), sample(written=[HOSTILE] * 8, index=5, departs=0)],
        mode="rag",
        seed=0,
        accuracy=0.97,
    )
    finished_run(folder / "runs", [sample(departs=None, right=True)], mode="rag", seed=1, accuracy=0.66)
    memory_run(folder / "runs" / "memory")
    memory_run(folder / "runs" / "memory", "zero_shot")
    return folder / "runs", write_full(folder / "table.csv", *several_rows(), hostile_row())
