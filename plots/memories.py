"""Tables of text memories, as figures read them."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrieval_gap.tables.identity import Identity, check_seeds, identity_of
from retrieval_gap.tables.texts import read_rows
from retrieval_gap.tables.values import count_in, number_in

from . import style
from .kept import Kept, counted
from .results import RESULTS

SCRIPTED = RESULTS / "memory_scripted.csv"
FLOORS = {
    "majority": "commonest so far",
    "as_before": "as the step before",
    "no_change": "no change",
    "transitions": "counts of transitions",
}
METHODS = {
    "zero_shot": "zero-shot",
    "last_k": "last k steps",
    "full_history": "full history",
    "memprompt": "MemPrompt",
    "memprompt_summary": "MemPrompt, summaries",
    "episodes": "episodes",
    "search": "search over the whole log",
    "llm_as_rnn": "LLM-as-RNN",
    "no_update": "no update",
    "oracle_memory": "oracle's notes",
}
_MARKS = ("o", "s", "^")
_WANTED = (
    "benchmark", "target", "options", "streams", "steps", "seed", "model", "method", "budget", "feedback", "update",
    "gate", "part", "first_step", "last_step", "predictions", "score", "score_low", "score_high", "state_bits",
    "ceiling", "against", "difference", "difference_low", "difference_high", "hardware", "unreadable",
)  # fmt: skip
# Settings in which runs may differ without another name or panel.
_UNTOLD = ("data_sha256", "streams", "steps", "api", "k", "answer", "temperature", "draw", "thinking", "judge")


@dataclass(frozen=True, kw_only=True)
class MemoryRow:
    """A row of results/memory_*.csv; None if a number is absent."""

    benchmark: str
    target: str
    options: str
    streams: int
    model: str
    method: str
    variant: str
    budget: int
    part: str
    steps: tuple[int, int]
    predictions: int
    unreadable: int
    score: float | None
    interval: tuple[float, float] | None
    state_bits: float | None
    ceiling: float | None
    against: str
    difference: float | None
    difference_interval: tuple[float, float] | None
    hardware: str

    @property
    def is_floor(self) -> bool:
        return self.method in FLOORS

    @property
    def name(self) -> str:
        """The method, with what distinguishes it from others of the same method."""
        return " ".join(filter(None, [FLOORS.get(self.method) or METHODS.get(self.method, self.method), self.variant]))

    @property
    def title(self) -> str:
        """What was predicted, with the options that are not 0."""
        told = " ".join(word for word in self.options.split() if not word.endswith("=0"))
        return f"{self.benchmark}, {self.target}" + (f" ({told})" if told else "")

    @property
    def group(self) -> tuple[str, str, str]:
        return self.benchmark, self.target, self.options


@dataclass(frozen=True)
class Memories(Kept[MemoryRow]):
    """The rows of a table."""

    def groups(self) -> list["Memories"]:
        """One group for each benchmark, target, options and model; floors, which ask no model, are in each of them."""
        found = []
        for name in dict.fromkeys(row.group for row in self.rows):
            rows = [row for row in self.rows if row.group == name]
            for model in dict.fromkeys(row.model for row in rows if row.model) or [""]:
                found.append(Memories(self.path, tuple(row for row in rows if row.model in ("", model))))
        return found

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.model for row in self.rows if row.model))


def read_memories(path: Path) -> Memories:
    """If a row pools several seeds, the rows of these single seeds are left out.

    Raises UsageError for an invalid table, or one whose rows differ in a setting that no figure shows."""
    read = read_rows(path, _WANTED, "memory table --csv FILE")
    pooled: dict[Hashable, set[str]] = defaultdict(set)  # seeds that one row has together
    for _, row in read:
        if " " in row["seed"]:
            pooled[_but_for_seed(row)].update(row["seed"].split())
    kept = [(where, row) for where, row in read if row["seed"] not in pooled.get(_but_for_seed(row), ())]
    single = counted(["a single seed of several"] * (len(read) - len(kept)))
    rows = tuple(_row(where, row) for where, row in kept)
    alike: dict[Hashable, list[Identity]] = defaultdict(list)
    for made, (where, row) in zip(rows, kept, strict=True):
        told = (made.group, made.model, made.name, made.budget, made.part, made.steps)
        alike[told].append(identity_of(where, row, _UNTOLD))
    for identities in alike.values():
        check_seeds(identities)
    return Memories(path, rows, single)


def looks_of(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a mark for each name; once all colours are used they repeat with another mark."""
    colours = style.palette(names)
    first = list(dict.fromkeys(colours.values()))
    return {name: (colours[name], _MARKS[place // len(first) % len(_MARKS)]) for place, name in enumerate(names)}


def hardware_of(rows: Iterable[MemoryRow]) -> str:
    """The names of the rows' hardware, for a caption."""
    return "; ".join(dict.fromkeys(row.hardware for row in rows if row.hardware)) or "unknown"


def _but_for_seed(row: dict[str, str]) -> tuple[str, ...]:
    """A row's settings, without the seed, and without `streams`: a row of several seeds has those of all."""
    names = ("benchmark", "target", "options", "model", "method", "budget", "feedback", "update", "gate", *_UNTOLD)
    return tuple(row.get(name, "") for name in names if name != "streams")


def _row(where: str, row: dict[str, str]) -> MemoryRow:
    return MemoryRow(
        benchmark=row["benchmark"],
        target=row["target"],
        options=row["options"],
        streams=count_in(where, row, "streams"),
        model=row["model"],
        method=row["method"],
        variant=_variant(row),
        budget=count_in(where, row, "budget") if row["budget"] else 0,
        part=row["part"],
        steps=(count_in(where, row, "first_step"), count_in(where, row, "last_step")),
        predictions=count_in(where, row, "predictions"),
        unreadable=count_in(where, row, "unreadable"),
        score=_optional(where, row, "score"),
        interval=_interval(where, row, "score"),
        state_bits=_optional(where, row, "state_bits"),
        ceiling=_optional(where, row, "ceiling"),
        against=row["against"],
        difference=_optional(where, row, "difference"),
        difference_interval=_interval(where, row, "difference"),
        hardware=row["hardware"],
    )


def _variant(row: dict[str, str]) -> str:
    """What distinguishes runs of one method, other than the budget."""
    told = [row["update"] if row["update"] == "edits" else ""]
    told += ["" if row["feedback"] in ("", "truth") else f"feedback: {row['feedback']}"]
    told += [f"gate {row['gate']}" if row["gate"] not in ("", "0") else ""]
    return ", ".join(filter(None, told))


def _optional(where: str, row: dict[str, str], name: str) -> float | None:
    return number_in(where, row, name) if row[name] else None


def _interval(where: str, row: dict[str, str], name: str) -> tuple[float, float] | None:
    low, high = (_optional(where, row, f"{name}_{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)
