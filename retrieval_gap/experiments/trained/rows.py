"""The row of a trained run: what identifies it, what a table shows of it, and whether it is valid."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import write_json
from retrieval_gap.runs.directory import RunDirectory, read_json
from retrieval_gap.runs.experiment import Row, hash_of
from retrieval_gap.tables.rows import SHARES
from retrieval_gap.tables.values import option_values
from retrieval_gap.tasks.api import TaskConfig, TaskError

if TYPE_CHECKING:
    from retrieval_gap.decoding.evaluation import Tally
    from retrieval_gap.experiments.trained.config import RunConfig

MEASURED = (*SHARES, "tokens_per_s", "wall_s")
# The columns that identify a run in filters and tables, in order.
WHAT = (
    "task", "mode", "n", "arch", "size", "seed", "samples", "lr", "family", "options", "embedding", "batch_size",
    "warmup_samples", "max_grad_norm", "precision", "curriculum", "eval_split",
)  # fmt: skip
SAME = tuple(name for name in WHAT if name not in ("samples", "lr", "family", "options"))


def identifying_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values in WHAT of a configuration or a row."""
    return {key: values[key] for key in WHAT if key in values}


def shown_values_of(row: Row) -> dict[str, str]:
    """What a table shows of a row, by column header."""
    seconds, speed = row["wall_s"], row["tokens_per_s"]
    return {
        "accuracy": _share(row["accuracy"]),
        "95 %": f"{_share(row['accuracy_low'])}-{_share(row['accuracy_high'])}",
        "chance": _share(chance_of(row)),
        "strict": _share(row["accuracy_strict"]),
        "exact": _share(row["exact_trace"]),
        "undecided": _share(row["undecided"]),
        "state bits": "" if row.get("state_bits") is None else f"{row['state_bits']:,}",
        "tok/s": "" if speed is None else f"{speed:,.0f}",
        "min": "" if seconds is None else f"{seconds / 60:.1f}",
    }


def chance_of(row: Row) -> float | None:
    """The accuracy of guessing among a task's answers; None if answers are texts, or the task cannot be built."""
    get = row.get
    return _chance(get("task") or "", get("mode") or "", get("n") or 0, get("family") or "", get("options") or "")


@cache
def _chance(task: str, mode: Any, n: int, family: str, options: str) -> float | None:
    from retrieval_gap.tasks.registry import load_task

    try:
        config = TaskConfig(n=n, mode=mode, family=family, split="test", seed=0, options=options)
        built = load_task(task)(config)
    except (TaskError, ValueError):
        return None
    return None if built.open_answers else 1 / len(built.answers)


def read_tally(run: RunDirectory) -> "Tally":
    """The tally of the evaluation so far; empty without a file, or if the file is not as it was written."""
    from retrieval_gap.decoding.evaluation import Tally

    try:
        told = read_json(run.evaluation)
        digest = told.pop("digest", "")
        return Tally(**told) if digest == hash_of(told) else Tally()
    except (RunError, TypeError, ValueError):
        return Tally()


def write_tally(run: RunDirectory, tally: "Tally") -> None:
    """Write the tally of the evaluation so far."""
    told = asdict(tally)
    write_json(run.evaluation, told | {"digest": hash_of(told)})


def trouble_of(row: Row, config: "RunConfig") -> str:
    """What is wrong with a row in this run's directory, or ""."""
    lacking = [key for key in MEASURED if type(row.get(key)) not in (int, float)]
    if lacking:
        return f"has no number for {', '.join(lacking)}"
    if not isinstance(row.get("config_hash"), str):
        return "has no config_hash"
    impossible = [key for key in SHARES if not 0 <= row[key] <= 1]
    if impossible:
        return f"says {impossible[0]} = {row[impossible[0]]}, which is not a share"
    training = config.training()
    wanted = {key: getattr(config, key) for key in SAME} | {"lr": training.lr}
    if config.family:
        wanted["family"] = config.family
    if not config.stop_at:
        wanted["samples"] = training.steps * config.batch_size
    for key, value in wanted.items():
        if key in row and row[key] != value:
            return f"says {key} = {row[key]!r}, and the run's config.json {value!r}"
    if not _option_values(config.options).items() <= _option_values(row.get("options", config.options)).items():
        return f"says options = {row['options']!r}, and the run's config.json {config.options!r}"
    return ""


def _option_values(options: str) -> dict[str, str | float]:
    """By name; the spelling of a number does not matter."""
    return {name: _number(value) for name, value in option_values(options).items()}


def _number(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


@cache
def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
