"""One cell: a method with its settings, a model, and the streams that it works through."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from retrieval_gap.experiments.memories.rows import COLUMNS
from retrieval_gap.llm.config import LLMConfig, LocalConfig, ServerConfig
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.machine.field_kinds import check_fields
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, hash_of
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.registry import code_digest, files_of
from retrieval_gap.tasks.streams.checks import check_drawn_again, check_streams
from retrieval_gap.tasks.streams.stream import Benchmark, Stream, StreamConfig, Target, load_benchmark
from retrieval_gap.text_memory.settings import FLOORS, METHODS, Settings

if TYPE_CHECKING:
    from retrieval_gap.runs.directory import RunDirectory

VERSION = 1  # of what methods do; part of the hash
STEPS = "steps.jsonl"
MOST_STREAMS = 1_000_000
# Settings that change what a method does; none of them changes a method that is not listed.
_COMMON = ("answer", "temperature", "draw")
_SETTINGS: dict[str, tuple[str, ...]] = {
    "zero_shot": _COMMON,
    "no_update": _COMMON,
    "oracle_memory": ("budget", *_COMMON),
    "full_history": ("budget", "feedback", *_COMMON),
    "memprompt_summary": ("budget", "feedback", *_COMMON),
    **dict.fromkeys(("last_k", "memprompt", "episodes", "search"), ("budget", "feedback", "k", *_COMMON)),
    "llm_as_rnn": ("budget", "feedback", "update", "gate", *_COMMON),
}


@dataclass(frozen=True, kw_only=True)
class MemoryCell(Experiment):
    """benchmark: a name, or a user's `.py` file.  data: its file or folder, "" if its streams are drawn.  target: ""
    means the benchmark's first.  streams: how many, from stream 0 on; 0 for all in the data.  steps, seed,
    options: see `StreamConfig`.  method: one of METHODS, or of FLOORS, which ask no model.  judge: the model that
    judges, "" means the one that predicts.
    """

    kind: ClassVar[str] = "memories"
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("score", "right", "unreadable", "calls")
    files: ClassVar[Sequence[str]] = (STEPS,)

    benchmark: str
    method: str
    data: str = ""
    target: str = ""
    streams: int = 5
    steps: int = 100
    seed: int = 0
    options: str = ""
    settings: Settings = field(default_factory=Settings)
    model: LLMConfig | None = None
    judge: str = ""
    local: LocalConfig = field(default_factory=LocalConfig)
    server: ServerConfig = field(default_factory=ServerConfig)

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def is_floor(self) -> bool:
        return self.method in FLOORS

    @property
    def preload(self) -> Sequence[str]:
        from retrieval_gap.text_memory.scripted import PREFIX

        local = self.model is not None and not self.server.base_url and not self.model.model.startswith(PREFIX)
        return ("retrieval_gap.llm.local", "transformers.generation.utils") if local else ()

    def build(self) -> Benchmark:
        """Raises TaskError for an unknown benchmark, invalid data or options."""
        data = Path(self.data) if self.data else None
        config = StreamConfig(data=data, steps=self.steps, seed=self.seed, options=self.options)
        return load_benchmark(self.benchmark)(config)

    def chosen_streams(self, benchmark: Benchmark) -> list[Stream]:
        """Raises TaskError for more streams than there are, and for invalid streams."""
        available = benchmark.available
        if not self.streams and available is None:
            raise TaskError(f"--streams 0 means all, and {benchmark.name} has no end of them; give a number")
        if available is not None and self.streams > available:
            told = f"{available} with these data and --steps {self.steps}"
            raise TaskError(f"--streams {self.streams}: {benchmark.name} has {told}")
        streams = [benchmark.stream(number) for number in range(self.streams or available or 0)]
        check_streams(benchmark, streams, benchmark.target(self.target))
        check_drawn_again(benchmark, streams[0])
        return streams

    def validate(self) -> None:
        from retrieval_gap.text_memory.answers import check_answer_form

        if self.method not in (*METHODS, *FLOORS):
            raise unknown("method", self.method, (*METHODS, *FLOORS))
        if not 0 <= self.streams <= MOST_STREAMS:
            raise UsageError(f"--streams {self.streams} is out of range: expected 0 to {MOST_STREAMS}")
        if not self.is_floor and self.model is None:
            raise UsageError(f"{self.method} needs --model")
        benchmark = self.build()
        target = benchmark.target(self.target)
        self.chosen_streams(benchmark)
        if self.is_floor:
            _check_floor(self.method, target)
        else:
            check_answer_form(target, self.settings.answer)

    def relevant(self) -> dict[str, Any]:
        """The settings that change what this method does; `thinking` only if it is set, as older hashes lack it."""
        values = asdict(self.settings)
        names = [*_SETTINGS.get(self.method, ()), *(["thinking"] if values["thinking"] and not self.is_floor else [])]
        return {name: values[name] for name in names}

    def label(self) -> str:
        """Such as recall-llm_as_rnn-smollm2-b256-s0."""
        relevant = self.relevant()
        parts = [Path(self.benchmark).stem, self.target, self.method, self.model_name]
        parts += [f"b{relevant['budget']}"] if "budget" in relevant else []
        return "-".join(_plain(part) for part in (*parts, f"s{self.seed}") if part)

    @property
    def model_name(self) -> str:
        """The name of the model; "" for a floor."""
        return "" if self.is_floor or self.model is None else self.model.shown_name

    @property
    def server_settings(self) -> dict[str, str]:
        """The server's settings that change prompts or the count of the budget; only those that were set, so that runs
        without them keep their hashes."""
        if self.is_floor or not self.server.base_url:
            return {}
        system_as = {"system_as": self.server.system_as} if self.server.system_as != "auto" else {}
        return system_as | ({"tokenizer": self.server.tokenizer} if self.server.tokenizer else {})

    def hash(self) -> str:
        """A benchmark's file and the data count by their content; a model by its name, its API and its precision or, on
        a server, `server_settings`."""
        meaning: dict[str, Any] = {
            "benchmark": _code_by_content(self.benchmark) if self.benchmark.endswith(".py") else self.benchmark,
            "data": _by_content(self.data) if self.data else "",
            "options": self.options,
            "target": self.target,
            "streams": self.streams,
            "steps": self.steps,
            "seed": self.seed,
            "method": self.method,
            "version": VERSION,
        }
        if not self.is_floor and self.model is not None:
            meaning |= {"model": self.model.shown_name, "api": self.model.api, "settings": self.relevant()}
            meaning |= self.server_settings if self.server.base_url else {"precision": self.local.precision}
            meaning |= {"judge": self.judge} if self.settings.feedback == "judge" and self.judge else {}
        return hash_of(meaning)

    def foreign(self) -> list[str]:
        return ([self.benchmark] if self.benchmark.endswith(".py") else []) + ([self.data] if self.data else [])

    def filter_values(self) -> Mapping[str, Any]:
        names = ("benchmark", "target", "streams", "steps", "seed", "options", "method")
        values = {name: getattr(self, name) for name in names}
        return values | {"model": self.model_name} | self.relevant() | self.server_settings

    def shown_values(self, row: Row) -> Mapping[str, str]:
        return super().shown_values(row) if row["part"] == "all" else {}

    def execute(self, run: "RunDirectory", options: RunOptions) -> list[Row]:
        from retrieval_gap.experiments.memories.work import work_through

        return work_through(self, run, options)

    def check_row(self, row: Row) -> str:
        lacking = [name for name in ("benchmark", "method", "predictions", "score") if name not in row]
        return f"lacks {', '.join(lacking)}" if lacking else ""


def data_hash(path: str) -> str:
    """16 hex digits of a file's content, or of all CSV files of a folder; "" for no path."""
    return _by_content(path)[:16] if path else ""


def _by_content(path: str) -> str:
    place = Path(path)
    files = sorted(place.glob("*.csv*")) if place.is_dir() else [place]
    found = hashlib.sha256()
    for file in files:
        try:
            found.update(file.name.encode() * place.is_dir() + hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise TaskError(f"{file} cannot be read: {error.strerror}") from error
    return found.hexdigest()


def _code_by_content(path: str) -> str:
    """A benchmark's file, with those beside it that it imports."""
    return _by_content(path) if len(files_of(Path(path))) == 1 else code_digest(Path(path))


def _check_floor(method: str, target: Target) -> None:
    from retrieval_gap.text_memory.floors import floors_of

    if method not in floors_of(target):
        raise UsageError(f"the floor {method} says nothing of {target.name}: {', '.join(floors_of(target))} do")


def _plain(text: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "._" else "_" for sign in text)
