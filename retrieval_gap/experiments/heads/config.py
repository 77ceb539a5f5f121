"""The configuration of one run: a set of texts, a model's states, a head, what is shuffled, and a seed."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from retrieval_gap.heads import HeadSpec, build, matched_shape
from retrieval_gap.heads.training import HeadTraining
from retrieval_gap.heads.trial import try_head
from retrieval_gap.llm.embeddings.config import Half, StatesConfig, StoredPrecision, fingerprint, states_width
from retrieval_gap.machine.errors import UsageError, fault
from retrieval_gap.machine.field_kinds import check_fields
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, hash_of
from retrieval_gap.tasks.containment import contained
from retrieval_gap.tasks.registry import code_digest
from retrieval_gap.tasks.texts import TextSet, generated_sets, load_texts

Control = Literal["none", "shuffle_words", "shuffle_states", "shuffle_both"]
EXAMPLES = "examples.json"
# Increased when the meaning of a configuration changes, so that old run directories are not taken for new ones.
CONFIG_VERSION = 1
# Heads that did not normalise the states of tokens to label at first; `ncbi` is the only set that labels tokens.
NORMALISED_LATER = ("linear", "mlp")
COLUMNS = (
    "dataset", "n", "label_kind", "metric", "model", "model_files", "layer", "half", "copies", "tune_lr", "head",
    "parameters", "width", "control", "window", "seed", "lr", "step", "train_examples", "test_examples", "score",
    "score_low", "score_high", "validation_score", "majority", "bag_of_words", "first_token", "wall_s", "threads",
    "hardware", "torch", "commit", "config_hash",
)  # fmt: skip
LATER = ("tune_lr",)  # columns that rows of earlier versions lack


@dataclass(frozen=True, kw_only=True)
class HeadsConfig(Experiment):
    """One head, trained at each learning rate on cached token states and tested once.

    dataset: a set of `tasks.texts`.  n, samples, test_samples, text_seed: settings of a generated set.  data: file or
    folder of a public set.  model, layer, half, copies, precision: see `StatesConfig`.
    tune: also train the model, at the learning rate tune_lr; the head's training does not change.
    parameters: number in every head, within 2 %.
    control: what is shuffled: the words before the model, the states before the head, or both.
    window: shuffle within windows of so many places; 0 means the whole text.
    """

    kind: ClassVar[str] = "heads"
    columns: ClassVar[Sequence[str]] = COLUMNS
    measures: ClassVar[Sequence[str]] = ("score", "validation_score")
    files: ClassVar[Sequence[str]] = (EXAMPLES, "checkpoint.safetensors")

    dataset: str
    model: str
    head: str
    n: int = 64
    samples: int = 2000
    test_samples: int = 1000
    text_seed: int = 0
    data: str = ""
    layer: int = -1
    half: Half = "encoder"
    copies: int = 1
    precision: StoredPrecision = "fp16"
    tune: bool = False
    tune_lr: float = 5e-5
    parameters: int = 100_000
    control: Control = "none"
    window: int = 0
    lr: str = "3e-4,1e-3,3e-3"
    steps: int = 1500
    batch_size: int = 32
    evaluate_every: int = 50
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("window", 0), ("parameters", 1), ("seed", 0), ("text_seed", 0), ("samples", 1)):
            if not least <= getattr(self, name) < 2**63:
                raise UsageError(f"{name} = {getattr(self, name)} is out of range: expected {least} or more")
        if not 0 < self.tune_lr < 1:
            raise UsageError(f"tune-lr = {self.tune_lr} is out of range: expected a rate between 0 and 1")
        if self.control == "none" and self.window:
            raise UsageError(f"window = {self.window} is of a shuffle; choose one with --control")
        if self.control != "none" and self.window == 1:
            raise UsageError("window = 1 shuffles nothing: expected 2 or more places, or 0 for the whole text")

    @property
    def spec(self) -> HeadSpec:
        return HeadSpec.parse(self.head)

    @property
    def states(self) -> StatesConfig:
        return StatesConfig(
            model=self.model, layer=self.layer, half=self.half, copies=self.copies, precision=self.precision
        )

    @property
    def training(self) -> HeadTraining:
        """Raises UsageError for invalid numbers."""
        try:
            rates = tuple(float(word) for word in self.lr.split(","))
        except ValueError as error:
            raise UsageError(f"lr = {self.lr!r} is invalid: expected numbers such as 1e-3,3e-3") from error
        return HeadTraining(
            rates=rates,
            steps=self.steps,
            batch_size=self.batch_size,
            evaluate_every=self.evaluate_every,
            patience=self.patience,
        )

    def texts(self) -> TextSet:
        """Load the set.  Raises TaskError."""
        data = Path(self.data).expanduser() if self.data else None
        return _texts(self.dataset, self.n, self.samples, self.test_samples, self.text_seed, data)

    def head_shape(self, d_states: int) -> Any:
        texts = self.texts()
        d_out = 1 if texts.kind == "choice" else len(texts.labels)
        return matched_shape(self.spec, d_states=d_states, d_out=d_out, parameters=self.parameters, kind=texts.kind)

    def validate(self) -> None:
        """Raises UsageError or TaskError, before a run starts, for anything that would make it fail."""
        _ = self.training, self.states
        texts = self.texts()
        fingerprint(self.model)
        d_states = states_width(self.model)
        if self.spec.is_file:
            self._try_head(d_states, tokens=texts.kind == "tokens")
        else:
            self.head_shape(d_states)

    def _try_head(self, d_states: int, *, tokens: bool) -> None:
        """Raises UsageError for a user's head that cannot be built, fails, or is refused by `try_head`."""
        try:
            with contained():
                try_head(build(self.spec, self.head_shape(d_states)), self.spec.shown, tokens=tokens)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"head {self.spec.shown} fails: {fault(error)}") from error

    def hashed_values(self) -> dict[str, Any]:
        """The values that are hashed: files by their content; for a public set, no settings of generated sets."""
        code = code_digest(Path(self.spec.name)) if self.spec.is_file else ""
        texts = "" if self.dataset in generated_sets() else _digest(self.texts())
        return self.hashed_values_with(model_files=fingerprint(self.model), texts=texts, head_code=code)

    def hashed_values_with(self, *, model_files: str, texts: str, head_code: str) -> dict[str, Any]:
        """model_files, texts, head_code: digests of a model's files, a public set, a user's head; "" for none."""
        meaning = asdict(self) | {"model": model_files, "version": CONFIG_VERSION, "kind": self.kind}
        meaning["rates"] = [f"{rate:g}" for rate in self.training.rates]
        del meaning["lr"], meaning["data"]
        if not self.tune:  # hashes from before there was a choice lack these
            del meaning["tune"], meaning["tune_lr"]
        if self.dataset not in generated_sets():
            for key in ("n", "samples", "test_samples", "text_seed"):
                del meaning[key]
            meaning["texts"] = texts
        elif (version := generated_sets()[self.dataset].version) > 1:
            meaning["texts_version"] = version
        if self.spec.is_file:
            meaning["head_code"] = head_code
            meaning["head"] = self.spec.shown
        elif self.dataset == "ncbi" and self.head in NORMALISED_LATER:
            meaning["normalised"] = True
        return meaning

    def hash(self) -> str:
        return hash_of(self.hashed_values())

    def label(self) -> str:
        generated = f"-n{self.n}" if self.dataset in generated_sets() else ""
        shuffled = "" if self.control == "none" else f"-{self.control}{self.window or ''}"
        head = re.sub(r"[^\w.-]+", "_", self.spec.shown)
        tuned = "-tuned" if self.tune else ""
        return f"heads-{self.dataset}{generated}-{head}{shuffled}{tuned}-s{self.seed}"

    def foreign(self) -> list[str]:
        return [self.model, *([self.data] if self.data else []), *([self.spec.name] if self.spec.is_file else [])]

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        from retrieval_gap.experiments.heads.run import train_and_test

        return [train_and_test(self, run, options)]

    def tidy(self, run: RunDirectory, options: RunOptions) -> None:
        if not options.keep_weights:
            run.checkpoint.unlink(missing_ok=True)

    def filter_values(self) -> Mapping[str, Any]:
        shown = ("dataset", "n", "model", "layer", "copies", "tune", "head", "control", "window", "seed")
        values = {key: getattr(self, key) for key in shown}
        return {"task": values.pop("dataset")} | values | {"model": model_name(self.model), "head": self.spec.shown}

    def checkpoint(self, run: RunDirectory) -> tuple[Path | None, int]:
        from retrieval_gap.heads.saved import Saved

        saved = Saved.read(run.checkpoint)
        return run.checkpoint if run.checkpoint.exists() else None, saved.rate * self.steps + saved.step

    def check_row(self, row: Row) -> str:
        lacking = [name for name in COLUMNS if name not in (*row, *LATER)]
        if lacking:
            return f"lacks {', '.join(lacking)}"
        score = row["score"]
        return "" if type(score) is float and 0 <= score <= 1 else f"has the score {score!r}, which is none"


def model_name(model: str) -> str:
    """A model's name in tables: the last part of its path or name, other than "model"."""
    parts = [part for part in Path(model).parts if part not in ("model", "/")]
    return parts[-1] if parts else model


@lru_cache(maxsize=8)
def _texts(name: str, n: int, samples: int, test_samples: int, seed: int, data: Path | None) -> TextSet:
    return load_texts(name, n=n, samples=samples, test_samples=test_samples, seed=seed, data=data)


@lru_cache(maxsize=8)
def _digest(texts: TextSet) -> str:
    return hashlib.sha256(repr(texts).encode()).hexdigest()
