"""Presets of heads over token states: what a recurrent head gets from the order of the states of all-MiniLM-L6-v2.

The model is looked for in the folder `.models`, or in RETRIEVAL_GAP_MODELS (`make heads-demo` puts it there); public
sets in `data/coupling`, or in `coupling` under RETRIEVAL_GAP_DATA.  If that folder is missing, public sets are left out
with a message; so is a missing decoder-only model.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from retrieval_gap.experiments.heads.config import HeadsConfig
from retrieval_gap.heads import HeadSpec, head_names
from retrieval_gap.llm.packaged import models_folder
from retrieval_gap.tasks.texts import generated_sets

MODEL, DECODER = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct"
DEMO_HEADS = ("mean", "attention", "conv1d", "transformer", "bigru")
DEMO_SETS = {"which_came_first": 16, "negation_scope": 32}
DEMO_WINDOWS, WINDOWS = (2, 8), (2, 4, 8, 16)
TUNED_SETS, TUNED_HEADS = ("which_came_first", "negation_scope"), ("attention", "bigru")
MIDDLE_HEADS = ("attention", "conv1d", "transformer", "gru", "bigru", "bigru+pool=max")
MIDDLE_TEXTS = {"n": 200, "samples": 1000, "test_samples": 1000}
CPU_SEEDS = 5
CPU_TRAINING = {"steps": 400, "patience": 4, "lr": "1e-3,3e-3"}
CPU_TEXTS = {"n": 32, "samples": 1000, "test_samples": 600}
CPU_HEADS = (
    "first", "last", "max", "mean", "mlp", "attention", "conv1d", "transformer", "gru", "lstm", "bigru", "bilstm",
    "mamba",
)  # fmt: skip
CPU_WINDOWED = ("which_came_first", "swap_tracking")
CPU_PUBLIC = (
    "copa", "commonsenseqa", "navigate", "hyperbaton", "tracking", "temporal", "code_bugs", "ncbi", "pubmedqa",
)  # fmt: skip
PUBLIC_HEADS = ("mean", "attention", "conv1d", "transformer", "gru", "bigru")
DECODER_SETS, DECODER_HEADS = ("which_came_first", "negation_scope"), ("attention", "bigru")

Values = Mapping[str, object]
"""Values of fields of `HeadsConfig`, by field."""


def heads_demo() -> list[HeadsConfig]:
    """Ten minutes on two cores: two generated sets and COPA, five heads, three seeds; also on shuffled states."""
    brief = {"steps": 250, "patience": 3, "lr": "1e-3,3e-3"}
    few = brief | {"samples": 1000, "test_samples": 600}
    cells: list[HeadsConfig] = []
    for seed in range(3):
        for name, n in DEMO_SETS.items():
            cells += _cells(name, DEMO_HEADS, seed, few | {"n": n})
            cells += _shuffled(name, DEMO_HEADS, seed, (0,), few | {"n": n})
        few_words = few | {"n": DEMO_SETS["which_came_first"]}
        cells += _shuffled("which_came_first", ("bigru",), seed, DEMO_WINDOWS, few_words)
        cells += _public("copa", DEMO_HEADS, seed, brief)
    return cells


def heads_tuned() -> list[HeadsConfig]:
    """Do results over a frozen model hold if the model is fine-tuned?  Two generated sets of 16 words, attention
    pooling and a BiGRU, two seeds."""
    few = {"n": 16, "samples": 600, "test_samples": 300, "steps": 100, "evaluate_every": 25, "batch_size": 16}
    rates = {"lr": "1e-3,3e-3", "tune_lr": 1e-4}
    return [
        cell
        for seed in range(2)
        for tune in (False, True)
        for name in TUNED_SETS
        for cell in _cells(name, TUNED_HEADS, seed, {**few, **rates, "tune": tune})
    ]


def heads_middle() -> list[HeadsConfig]:
    """Is a sentence lost in the middle of two hundred words?  One sentence decides, at any place; three seeds."""
    return [
        cell for seed in range(3) for cell in _cells("negation_scope", MIDDLE_HEADS, seed, CPU_TRAINING | MIDDLE_TEXTS)
    ]


def heads_cpu() -> list[HeadsConfig]:
    """A night on one core, seed by seed: all generated sets with 32 words, all heads, five seeds, shuffled states and
    words; public sets with six heads.  A decoder-only model, ten times slower, on two sets: on a text read once, and on
    the second copy of a text read twice."""
    few = CPU_TRAINING | CPU_TEXTS
    cells: list[HeadsConfig] = []
    for seed in range(CPU_SEEDS):
        for name in sorted(generated_sets()):
            cells += _cells(name, CPU_HEADS, seed, few)
            cells += _shuffled(name, CPU_HEADS, seed, (0,), few)
            cells += _cells(name, ("attention", "bigru"), seed, few | {"control": "shuffle_words"})
            cells += _cells(name, ("bigru",), seed, few | {"control": "shuffle_both"})
        for name in CPU_WINDOWED:
            cells += _shuffled(name, ("bigru",), seed, WINDOWS, few)
        for name in CPU_PUBLIC:
            cells += _public(name, PUBLIC_HEADS, seed, CPU_TRAINING)
        cells += _decoder(seed, few)
    return cells


def _model() -> str:
    return str(models_folder() / MODEL)


def _cells(dataset: str, heads: Sequence[str], seed: int, more: Values) -> Iterator[HeadsConfig]:
    for head in heads:
        told = {"dataset": dataset, "model": _model(), "head": head, "seed": seed}
        yield HeadsConfig.from_json({**told, **more}, "preset")


def _shuffled(
    dataset: str, heads: Sequence[str], seed: int, windows: Sequence[int], more: Values
) -> Iterator[HeadsConfig]:
    """The heads that read order, on shuffled states; the other heads give the same there as in order."""
    ordered = [head for head in heads if HeadSpec.parse(head).head().reads_order]
    for window in windows:
        yield from _cells(dataset, ordered, seed, {**more, "control": "shuffle_states", "window": window})


def _decoder(seed: int, more: Values) -> Iterator[HeadsConfig]:
    folder = models_folder() / DECODER
    if not folder.is_dir():
        if seed == 0:
            print(
                f"{DECODER} is left out: `retrieval-gap pretrained fetch` puts it in {folder.parent}", file=sys.stderr
            )
        return
    for name in DECODER_SETS:
        for copies in (1, 2):
            twice = {**more, "model": str(folder), "copies": copies}
            yield from _cells(name, DECODER_HEADS, seed, twice)
            yield from _shuffled(name, DECODER_HEADS, seed, (0,), twice)


def _public(dataset: str, heads: Sequence[str], seed: int, more: Values) -> Iterator[HeadsConfig]:
    folder = Path(os.environ.get("RETRIEVAL_GAP_DATA") or "data") / "coupling"
    if not folder.is_dir():
        if seed == 0:
            print(f"{dataset} is left out: no public sets at {folder} (RETRIEVAL_GAP_DATA)", file=sys.stderr)
        return
    if dataset == "ncbi":
        heads = [name for name in head_names() if HeadSpec(name).head().labels_tokens]
    yield from _cells(dataset, heads, seed, {**more, "data": str(folder)})


PRESETS = {
    "heads_demo": heads_demo,
    "heads_tuned": heads_tuned,
    "heads_middle": heads_middle,
    "heads_cpu": heads_cpu,
}
