"""One run: reads missing states, trains the head at each learning rate, tests the best one on the test split."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from retrieval_gap.experiments.heads.config import EXAMPLES, HeadsConfig, model_name
from retrieval_gap.heads import HeadShape, build
from retrieval_gap.heads.data import Counted, StateData
from retrieval_gap.heads.head import Learner
from retrieval_gap.heads.saved import Saved
from retrieval_gap.heads.training import Hooks, Splits, evaluate, search
from retrieval_gap.heads.tuned import LiveData, Tuning
from retrieval_gap.llm.embeddings import states_of
from retrieval_gap.llm.embeddings.config import fingerprint, states_width
from retrieval_gap.llm.embeddings.reader import StateReader
from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.files import write_json
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.statistics.intervals import wilson_interval
from retrieval_gap.statistics.ratios import Counts, score_interval
from retrieval_gap.tasks.api import Split
from retrieval_gap.tasks.randomness import SPLITS
from retrieval_gap.tasks.texts import METRICS, Example, TextSet, generated_sets
from retrieval_gap.tasks.texts.floors import floors
from retrieval_gap.tasks.texts.shuffles import shuffled_words

STATES = "states"  # folder of cached states, in the folder of runs


def train_and_test(config: HeadsConfig, run: RunDirectory, options: RunOptions) -> Row:
    """Return the row, and write what each test example counts to EXAMPLES.  Raises UsageError, TaskError, RunError."""
    begun = time.monotonic()
    texts = read_texts(config)
    learning = (_tuned if config.tune else _frozen)(config, texts, options)
    report = _StepReports(run, config, begun)
    hooks = Hooks(save=lambda saved: saved.write(run.checkpoint), report=report, seconds=options.checkpoint_seconds)
    splits = Splits(train=learning.data["train"], validation=learning.data["validation"])
    saved = search(learning.make, splits, config.training, config.seed, Saved.read(run.checkpoint), hooks)
    learner = learning.make()
    with torch.no_grad():
        for name, parameter in learner.trained_parameters().items():
            parameter.copy_(saved.chosen_weights[name])
    counted, _ = evaluate(learner, learning.data["test"])
    _write_examples(run, texts.test, counted)
    assert saved.chosen is not None
    row = _described(config, texts) | _scored(texts, counted)
    row |= {"parameters": build(config.spec, learning.shape).parameter_count(), "width": learning.shape.width}
    row |= {"lr": saved.chosen.lr, "step": saved.chosen.step, "validation_score": saved.chosen.score}
    seconds = round(time.monotonic() - begun, 1)
    return row | {"wall_s": seconds, "threads": torch.get_num_threads(), **environment.measured_on()}


class _Learning(NamedTuple):
    """What is trained, with its initial weights, and its data."""

    make: Callable[[], Learner]
    shape: HeadShape
    data: Mapping[Split, StateData]


def _frozen(config: HeadsConfig, texts: TextSet, options: RunOptions) -> _Learning:
    """A head over states that are read once."""
    every = [text for split in SPLITS for example in texts.splits[split] for text in example.texts]
    store = states_of(config.states, every, options.runs_dir / STATES, device=choose_device(options.device))
    shape = config.head_shape(store[every[0]].states_LxD.shape[1])
    window = _window(config)
    data = {
        split: StateData(texts.splits[split], store, kind=texts.kind, labels=texts.labels, window=window)
        for split in SPLITS
    }
    return _Learning(lambda: build(config.spec, shape, config.seed), shape, data)


def _tuned(config: HeadsConfig, texts: TextSet, options: RunOptions) -> _Learning:
    """A head and the model below it."""
    reader = StateReader(config.states, device=choose_device(options.device))
    shape = config.head_shape(states_width(config.model))
    window = _window(config)
    data = {
        split: LiveData(texts.splits[split], reader, kind=texts.kind, labels=texts.labels, window=window)
        for split in SPLITS
    }
    tuning = Tuning(reader, config.tune_lr)
    return _Learning(lambda: tuning.learner(build(config.spec, shape, config.seed)), shape, data)


def read_texts(config: HeadsConfig) -> TextSet:
    """The set, with the words of each text shuffled if the control says so."""
    texts = config.texts()
    if config.control not in ("shuffle_words", "shuffle_both"):
        return texts
    splits = {
        split: tuple(shuffled_words(each, config.window, f"words|{each.name}") for each in texts.splits[split])
        for split in SPLITS
    }
    return replace(texts, splits=splits)


def _window(config: HeadsConfig) -> int | None:
    """Window of the shuffle of states; None if they stay in order."""
    return config.window if config.control in ("shuffle_states", "shuffle_both") else None


class _StepReports:
    """Writes lines of metrics.jsonl: the steps done and their total."""

    def __init__(self, run: RunDirectory, config: HeadsConfig, begun: float) -> None:
        self._run, self._begun = run, begun
        self._total = config.steps * len(config.training.rates)
        self._first: int | None = None

    def __call__(self, steps: int) -> None:
        self._first = steps if self._first is None else self._first
        seconds = time.monotonic() - self._begun
        told = {"step": steps, "samples": steps, "total": self._total, "unit": "steps", "wall_s": round(seconds, 1)}
        if steps > self._first:
            told["samples_per_s"] = round((steps - self._first) / seconds, 1)
        self._run.add_report(told)


def _write_examples(run: RunDirectory, examples: Sequence[Example], counted: Sequence[Counted]) -> None:
    """Write what each test example counts, for paired comparisons."""
    write_json(
        run.path / EXAMPLES,
        {
            "name": [example.name for example in examples],
            "group": [example.group for example in examples],
            "place": [example.place for example in examples],
            "numerator": [each.numerator for each in counted],
            "denominator": [each.denominator for each in counted],
        },
    )


def _described(config: HeadsConfig, texts: TextSet) -> dict[str, Any]:
    return {
        "dataset": config.dataset,
        "n": config.n if config.dataset in generated_sets() else 0,
        "label_kind": texts.kind,
        "metric": METRICS[texts.kind],
        "model": model_name(config.model),
        "model_files": fingerprint(config.model),
        "layer": config.layer,
        "half": config.half,
        "copies": config.copies,
        "tune_lr": config.tune_lr if config.tune else None,
        "head": config.spec.shown,
        "control": config.control,
        "window": config.window,
        "seed": config.seed,
        "config_hash": config.hash(),
    }


def _scored(texts: TextSet, counted: Sequence[Counted]) -> dict[str, Any]:
    floor = floors(texts)
    above, below = (sum(column) for column in zip(*counted, strict=True))
    score = above / below if below else 0.0
    if texts.kind == "tokens":
        counts = Counts(*(torch.tensor([list(column)]).double().numpy() for column in zip(*counted, strict=True)))
        low, high = score_interval(counts, [example.group for example in texts.test])
    else:
        low, high = wilson_interval(score, len(counted))
    return {
        "train_examples": len(texts.train),
        "test_examples": len(texts.test),
        "score": float(score),
        "score_low": low,
        "score_high": high,
        "majority": floor["majority"],
        "bag_of_words": floor.get("bag_of_words", floor.get("most_frequent_tag")),
        "first_token": floor.get("first_token"),
    }
