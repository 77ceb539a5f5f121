"""The experiment: a model answers the questions of a file by one method, on one choice of paragraphs."""

import hashlib
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from retrieval_gap.experiments.hotpotqa_llm.answering import AnswerSettings, data_hash, read_data, write_answers
from retrieval_gap.experiments.hotpotqa_llm.answers import ANSWERS, read_done
from retrieval_gap.experiments.hotpotqa_llm.methods import Method
from retrieval_gap.experiments.hotpotqa_llm.prompts import exemplars_hash
from retrieval_gap.experiments.hotpotqa_llm.summary import COLUMNS, row_of
from retrieval_gap.llm.backends import make_backend
from retrieval_gap.llm.cache import REPLIES, Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import AskConfig, LLMConfig, LocalConfig, Price, ServerConfig
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.field_kinds import check_fields
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, hash_of
from retrieval_gap.tasks.hotpotqa.data.subsets import SubsetConfig

# Bytes read at the start and at the end of a file of weights, to tell it from others.
LOOKED_AT = 1 << 16
VERSION = 1  # of the meaning of the hash


@dataclass(frozen=True, kw_only=True)
class HotpotQARun(Experiment):
    """local, server: where the model runs: on a server if it has a `base_url`.  questions: how many, from the file's
    start, 0 for all."""

    kind: ClassVar[str] = "hotpotqa_llm"
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("exact_match", "f1")
    files: ClassVar[Sequence[str]] = (ANSWERS,)
    hash_column: ClassVar[str] = "cell"

    model: LLMConfig
    data: str
    method: Method = "cot"
    subset: SubsetConfig = field(default_factory=SubsetConfig)
    ask: AskConfig = field(default_factory=AskConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    questions: int = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def label(self) -> str:
        subset = self.subset
        parts = (self.model.shown_name, self.method, f"n{subset.n_paragraphs}", subset.order, subset.variant)
        return re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join((*parts, f"s{subset.seed}"))).strip(".")

    def hash(self) -> str:
        """Of the model, its name and its files of weights or its address count; how fast it is asked does not."""
        served = bool(self.server.base_url)
        where = {"url": self.server.base_url.rstrip("/")} if served else {"precision": self.local.precision}
        return hash_of(
            {
                "kind": self.kind,
                "version": VERSION,
                "model": self.model.shown_name,
                "weights": self.model.model if served else weights_hash(self.model.model),
                "api": self.model.api,
                "context_limit": self.model.context_limit,
                "where": where,
                "method": self.method,
                "ask": asdict(self.ask),
                "subset": asdict(self.subset),
                "data": data_hash(Path(self.data)),
                "questions": self.questions,
                "exemplars": exemplars_hash(),
            }
        )

    def foreign(self) -> list[str]:
        return [self.data, *([] if self.server.base_url else [self.model.model])]

    def validate(self) -> None:
        if not self.server.base_url:
            weights_hash(self.model.model)
        read_data(Path(self.data), self.questions)

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        local = self.local
        if local.device == "auto":
            local = replace(local, device=options.device)
        with closing(Cache(options.runs_dir / REPLIES)) as cache:
            client = Client(make_backend(self.model, local, self.server), cache)
            rows = self.answered(run, client)
        print(client.spent.summary(Price()), file=sys.stderr)
        return rows

    def answered(self, run: RunDirectory, client: Client) -> list[Row]:
        """Return the run's row; asks only what is missing from its directory and the client's cache.

        Raises RunError if the model fails, or if another one answered before.
        """
        answers = run.path / ANSWERS
        check_same_model(run, client.backend.described)
        if not answers.is_file():
            began = time.monotonic()

            def on_progress(done: int, total: int) -> None:
                report = {"step": done, "samples": done, "wall_s": time.monotonic() - began}
                run.add_report(report | {"total": total, "unit": "questions"})

            data = read_data(Path(self.data), self.questions)
            write_answers(answers, client, self._asked(client, data.sha256), data, on_progress)
        return [row_of(read_done(answers))]

    def _asked(self, client: Client, data: str) -> AnswerSettings:
        return AnswerSettings(
            model=self.model.shown_name,
            backend=client.backend.described,
            method=self.method,
            ask=self.ask,
            subset=self.subset,
            data=data,
            questions=self.questions,
            exemplars=exemplars_hash(),
        )

    def filter_values(self) -> Mapping[str, Any]:
        subset = self.subset
        return {
            "task": "hotpotqa", "model": self.model.shown_name, "method": self.method, "n": subset.n_paragraphs,
            "order": subset.order, "variant": subset.variant, "distractors": subset.distractors, "seed": subset.seed,
        }  # fmt: skip

    def command(self) -> str:
        flags = {
            "data": self.data, "method": self.method, "n_paragraphs": self.subset.n_paragraphs,
            "questions": self.questions, **{k: v for k, v in asdict(self.subset).items() if k != "n_paragraphs"},
        }  # fmt: skip
        for part in (self.model, self.ask, self.server, self.local):
            flags |= asdict(part)
        words = [
            f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in flags.items() if value != ""
        ]
        words = [word.removesuffix(" True") for word in words if not word.endswith(" False")]
        return " ".join(["retrieval-gap pretrained hotpotqa", *words])

    def check_row(self, row: Row) -> str:
        wrong = super().check_row(row)
        if wrong:
            return wrong
        for name in ("exact_match", "low", "high", "f1"):
            if type(row.get(name)) not in (int, float) or not 0 <= row[name] <= 1:
                return f"says {name} = {row.get(name)!r}, which is not a share"
        wanted = {"model": self.model.shown_name, "method": self.method, **asdict(self.subset)}
        for name, value in wanted.items():
            if row.get(name) != value:
                return f"says {name} = {row.get(name)!r}, and this run has {value!r}"
        return ""


def check_same_model(run: RunDirectory, described: Mapping[str, Any]) -> None:
    """Raises RunError if another model than the one described gave the run's answers: an address or a folder may have
    other weights by now."""
    answers = run.path / ANSWERS
    if not answers.is_file():
        return
    before = read_done(answers).cell["backend"]
    for what in ("told", "fingerprint"):
        if before.get(what) != described.get(what):
            raise RunError(
                f"{run.path} was answered by another model ({what} {before.get(what)!r:.80}, now "
                f"{described.get(what)!r:.80}); give this one another --name"
            )


def weights_hash(model: str) -> str:
    """Hash the names, sizes and both ends of a folder's files; a model name of the hub is returned as it is.

    Raises UsageError for a missing folder.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if model.startswith((".", "/", "~")):
            raise UsageError(f"model {model}: no such folder")
        return model
    found = hashlib.sha256()
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        found.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            found.update(file.read(LOOKED_AT))
            file.seek(max(0, path.stat().st_size - LOOKED_AT))
            found.update(file.read(LOOKED_AT))
    return found.hexdigest()[:16]
