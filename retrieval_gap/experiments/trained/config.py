"""The configuration of one run: a cell of a grid, whose hash names its directory."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import Suppress, arg

from retrieval_gap.choices import Embedding, Number, Precision
from retrieval_gap.experiments.trained.rows import identifying_values, read_tally, shown_values_of, trouble_of
from retrieval_gap.experiments.trained.trial import try_architecture, try_task
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.field_kinds import check_fields, config_from
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import TRAINED, Experiment, Progress, Row, RunOptions, hash_of
from retrieval_gap.tables.rows import COLUMNS
from retrieval_gap.tables.values import option_values
from retrieval_gap.tasks.api import Mode, Split, Task, TaskConfig, written_options
from retrieval_gap.tasks.registry import code_digest, is_task_name, load_task
from retrieval_gap.training.config import MAX_SAMPLES, TrainingConfig
from retrieval_gap.training.curriculum import Curriculum, TrainingData, sizes_of

if TYPE_CHECKING:
    from retrieval_gap.models import ModelConfig
    from retrieval_gap.runs.planning import Planner

ProblemSize = Annotated[
    int,
    arg(
        aliases=("--n-nodes", "--length", "--n-paragraphs"),
        help="problem size: nodes of a graph, tokens of a sequence, paragraphs",
    ),
]


# Increased when the meaning of a configuration changes, so that old run directories are not taken for new ones.
CONFIG_VERSION = 1
# The paper's learning rates.
PAPER_LR = {"transformer": 1e-3}
PAPER_LR_RECURRENT = 3e-4
# How often a run checks for early stopping if eval_every is 0.
STOP_LOOKS = 20
# Values that are left out of a command.
LEFT_OUT_DEFAULTS = {"eval_every": 0, "stop_at": 0.0, "curriculum": ""}


@dataclass(frozen=True, kw_only=True)
class RunConfig(Experiment):
    """One trained model: (task, view, problem size, family) x (architecture, model size) x training x seed.

    task, arch: a name, or the path of a `.py` file; arch also the dotted path of a layer.
    family: "" means the task's first.
    lr: learning rate; 0 means the paper's (1e-3 for the Transformer, 3e-4 for the rest).
    precision: of training (see `TrainingConfig`); decoding is always in float32.
    eval_split: `validation` to choose a setting by the result, `test` for results to report.
    eval_every: samples trained between evaluations on a few validation samples, which change no result; 0 means none,
    or with stop_at every twentieth of `samples`.  stop_at: answer accuracy on them that stops training; 0 means never.
    curriculum: smaller problem sizes to train on first, such as "4+8"; all sizes get equal shares of the samples.
    options: the task's own, such as "c=3 values=16"; others keep their defaults.
    """

    kind: ClassVar[str] = TRAINED
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("accuracy", "exact_trace")
    files: ClassVar[Sequence[str]] = ("samples.jsonl", "evaluation.json", "checkpoint.safetensors")

    task: str
    mode: Mode
    n: ProblemSize
    arch: str
    size: str
    family: str = ""
    embedding: Embedding = "sinusoidal"
    samples: int = 1_000_000
    batch_size: int = 64
    lr: Number = 0.0
    warmup_samples: int = 10_000
    max_grad_norm: Number = 0.0
    precision: Precision = "fp32"
    seed: int = 0
    eval_samples: int = 5_000
    eval_split: Split = "test"
    eval_every: int = 0
    stop_at: Number = 0.0
    curriculum: str = ""
    options: Suppress[str] = ""

    def __post_init__(self) -> None:
        check_fields(self)
        words = self.curriculum.split("+")
        if all(word.strip().isdecimal() for word in words):  # one spelling: rows are compared with it
            object.__setattr__(self, "curriculum", "+".join(str(int(word)) for word in words))
        if not 0 <= self.eval_every <= MAX_SAMPLES:
            raise UsageError(f"eval_every = {self.eval_every} is out of range: expected 0 to 2**63 - 1")
        if not 0 <= self.stop_at <= 1:
            raise UsageError(f"stop_at = {self.stop_at} is out of range: expected an accuracy from 0 to 1")
        if not 1 <= self.eval_samples <= MAX_SAMPLES:
            raise UsageError(f"eval_samples = {self.eval_samples} is out of range: expected 1 to 2**63 - 1")

    def build_task(self, split: Split) -> Task:
        """Raises TaskError or UsageError if the task or its settings do not exist."""
        config = TaskConfig(
            n=self.n, mode=self.mode, family=self.family, split=split, seed=self.seed, options=self.options
        )
        return load_task(self.task)(config)

    def training_data(self, own: Task) -> TrainingData:
        """The training split, with smaller problems first in a curriculum.  own: the task of the run's own size.

        Raises TaskError or UsageError for invalid sizes.
        """
        shared = [f"{name}={getattr(own.options, name)}" for name in own.shared_options]
        options = " ".join([self.options, *shared]).strip()
        sizes = sizes_of(self.curriculum, self.n)[:-1]
        smaller = [replace(self, n=n, options=options).build_task("train") for n in sizes]
        return Curriculum([*smaller, own], self.training()) if smaller else own

    def model(self, vocab_size: int, unread: tuple[int, ...] = ()) -> "ModelConfig":
        from retrieval_gap.models import ModelConfig, architecture

        return ModelConfig(
            architecture=architecture(self.arch, self.size),
            vocab_size=vocab_size,
            embedding=self.embedding,
            seed=self.seed,
            unread=unread,
        )

    def training(self) -> TrainingConfig:
        return TrainingConfig(
            samples=self.samples,
            batch_size=self.batch_size,
            lr=self.lr or PAPER_LR.get(self.arch, PAPER_LR_RECURRENT),
            warmup_samples=self.warmup_samples,
            max_grad_norm=self.max_grad_norm,
            precision=self.precision,
        )

    @property
    def validation_every(self) -> int:
        """Samples trained between evaluations on the validation split; 0 for none."""
        return self.eval_every or (max(1, self.samples // STOP_LOOKS) if self.stop_at else 0)

    def validate(self) -> None:
        """Raises TaskError or UsageError, before a run starts, for anything that would make it fail."""
        from retrieval_gap.models import architecture

        self.training()
        task = self.build_task("train")
        self.training_data(task)
        architecture(self.arch, self.size)
        if self.task.endswith(".py"):
            try_task(task, self.task)
        if "." in self.arch:
            try_architecture(lambda: self.model(len(task.vocabulary), task.unread), task, self.arch)

    def hashed_values(self) -> dict[str, Any]:
        """The values that are hashed: every default filled in, a size by its shape, a file of code or data by content.

        Fields that were added later are left out at their old values (no options, fp32, trained to the end), so that
        directories keep their names.
        """
        from retrieval_gap.models import architecture

        built, task = architecture(self.arch, self.size), self.build_task("train")
        filled = asdict(self) | {
            "lr": self.training().lr,
            "family": task.family,
            "options": written_options(task.options, by_content=True),
        }
        if not filled["options"]:
            del filled["options"]
        if self.precision == "fp32":
            del filled["precision"]
        del filled["curriculum"]
        if self.curriculum:
            filled["curriculum"] = list(sizes_of(self.curriculum, self.n)[:-1])
            if task.roles != task.vocabulary:  # until 2026-11-29 tokens were mapped by their words
                filled["curriculum_by"] = "roles"
        filled["eval_every"] = self.validation_every
        if not self.stop_at:
            del filled["eval_every"], filled["stop_at"]
        filled["shape"] = _shape(built)
        for key in ("task", "arch"):
            if filled[key].endswith(".py"):
                filled[key] += ":" + code_digest(Path(filled[key]))
        return filled | {"version": CONFIG_VERSION}

    def hash(self) -> str:
        """12 hex digits, equal for the same configuration."""
        return hash_of(self.hashed_values())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def foreign(self) -> list[str]:
        named = [self.task] if self.task.endswith(".py") else []
        named += [self.arch] if "." in self.arch else []
        try:
            words = shlex.split(self.options)
        except ValueError:
            return [*named, self.options]  # invalid options: nothing can be built with them
        return named + [word.removeprefix("data=") for word in words if word.startswith("data=")]

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        from retrieval_gap.experiments.trained.run import train_and_evaluate

        return [train_and_evaluate(self, run, options)]

    def tidy(self, run: RunDirectory, options: RunOptions) -> None:
        from retrieval_gap.training.checkpoint import previous

        run.evaluation.unlink(missing_ok=True)
        previous(run.checkpoint).unlink(missing_ok=True)
        if not options.keep_weights:
            run.checkpoint.unlink(missing_ok=True)

    def filter_values(self) -> dict[str, Any]:
        return identifying_values(
            self.to_json() | {"lr": self.training().lr, "family": self.family or _first_family(self.task)}
        )

    def own_options(self, row: Row | None = None) -> dict[str, Any]:
        try:
            settled = vars(self.build_task("train").options)
        except ValueError:  # refused settings, or a user's file that is gone
            settled = {}
        return settled | option_values(self.options if row is None else row.get("options", self.options))

    def listed_values(self, row: Row | None = None) -> dict[str, Any]:
        """The filter values with every option, as in rows of other tables; reads no user's file."""
        if row is not None:
            return self.filter_values() | identifying_values(row)
        if self.foreign():
            return self.filter_values()
        try:
            options = written_options(self.build_task("train").options)
        except ValueError:  # a run that failed because its task refuses the settings
            options = self.options
        return self.filter_values() | {"options": options}

    @staticmethod
    def filter_values_of(row: Row) -> dict[str, Any]:
        """The filter values of a row of another table."""
        return identifying_values(row)

    def command(self) -> str:
        told = self.to_json() | {"lr": self.training().lr}
        said = {name: value for name, value in told.items() if value != "" and value != LEFT_OUT_DEFAULTS.get(name)}
        words = [f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in said.items()]
        own = [option.partition("=") for option in shlex.split(self.options)]
        named = [word for word in words if not word.startswith("--options ")]
        return " ".join(
            ["retrieval-gap train", *named, *(f"--{key.replace('_', '-')} {shlex.quote(v)}" for key, _, v in own)]
        )

    def shown_values(self, row: Row) -> dict[str, str]:
        total = self.training().steps * self.batch_size
        early = {"trained": f"{row['samples']:,}"} if self.stop_at and row["samples"] < total else {}
        return shown_values_of(row) | early

    shown_values_of = staticmethod(shown_values_of)

    def progress(self, run: RunDirectory) -> Progress:
        reports, total = run.reports(), self.training().steps * self.batch_size
        done = int(reports[-1]["samples"]) if reports else 0
        good_enough = bool(reports) and 0 < self.stop_at <= (reports[-1].get("accuracy") or 0)
        if done >= total or good_enough:
            tally = read_tally(run)
            share = tally.samples / (tally.of or self.eval_samples)
            return Progress(done=done, total=done, doing=f"decoding {share:.0%}")
        pace = reports[-1].get("samples_per_s") if reports else None
        return Progress(done=done, total=total, per_s=pace)

    def checkpoint(self, run: RunDirectory) -> tuple[Path | None, int]:
        from retrieval_gap.training.checkpoint import has_checkpoint, newest_sound

        if not has_checkpoint(run.checkpoint):
            return None, 0
        found, progress, _ = newest_sound(run.checkpoint)
        return found, progress.step

    def check_row(self, row: Row) -> str:
        return trouble_of(row, self)

    def fill_row(self, row: Row) -> Row:
        """Rows from before 2026-11-29 lack the warm-up and the clipping."""
        return {"warmup_samples": self.warmup_samples, "max_grad_norm": float(self.max_grad_norm)} | row

    @classmethod
    def planner(cls) -> "Planner":
        from retrieval_gap.experiments.trained.forecast import RooflinePlanner

        return RooflinePlanner()

    def label(self) -> str:
        """A readable name; two runs may share it."""
        task, arch = Path(self.task).stem, self.arch.rpartition(".")[2]
        if self.arch.endswith(".py"):
            arch = Path(self.arch).stem
        return f"{task}-{self.mode}-n{self.n}-{arch}-{self.size}-s{self.seed}"

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "RunConfig":
        """Raises UsageError for a key that no run has (naming the nearest valid one) or an invalid value."""
        config = config_from(cls, value, where)
        try:
            config.training()
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
        return config


def _first_family(task: str) -> str:
    """The family of a task if none is named; "" for a user's own task, whose file is not run for this."""
    return load_task(task).families[0] if is_task_name(task) else ""


def _shape(built: Any) -> dict[str, Any]:
    """The fields of an architecture's dataclass without those that are None: a field that is added later changes no
    hash."""
    return {name: value for name, value in asdict(built).items() if value is not None}
