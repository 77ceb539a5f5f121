"""How fast a GPU could train larger models on longer traces, by the cost model: nothing is measured here.

    retrieval-gap bench larger_models

Samples per second of one H200 by the roofline (experiments/trained/cost.py: fp32, half of the data sheet's peaks),
beside the paper's largest Transformer on the same cell.  A million samples, the paper's run, take a million divided by
the first number, in seconds.
"""

from collections.abc import Iterator

import torch

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.cost import GPUS, cell_cost, trace_sizes
from retrieval_gap.experiments.trained.work import training_load
from retrieval_gap.models import Architecture, ModelConfig, SequenceModel
from retrieval_gap.models.mamba import Mamba
from retrieval_gap.models.transformer import Transformer
from retrieval_gap.tasks.api import Mode

from . import Row, row

LARGER: dict[str, Architecture] = {
    "transformer 127m": Transformer(d_model=768, d_ff=2048, n_layers=18, n_heads=12),
    "transformer 1b": Transformer(d_model=2048, d_ff=5504, n_layers=20, n_heads=16),
    "mamba 1b": Mamba(d_model=2048, n_layers=40, d_state=16),
}
NODES = (128, 1024)


def run() -> Iterator[Row]:
    """A row for each model, view and problem size."""
    modes: tuple[Mode, ...] = ("cot", "rag")
    for name, shape in LARGER.items():
        for mode in modes:
            for n in NODES:
                yield measure(name, shape, mode, n)


def measure(name: str, shape: Architecture, mode: Mode, n: int) -> Row:
    """The model is never given memory: only its shapes are needed."""
    config = RunConfig(task="istree", mode=mode, n=n, arch="transformer", size="2m")
    sizes, vocabulary = trace_sizes(config), len(config.build_task("train").vocabulary)
    with torch.device("meta"):
        model = SequenceModel(ModelConfig(architecture=shape, vocab_size=vocabulary))
    load = training_load(
        model, vocabulary=vocabulary, batch=config.batch_size, length=sizes.padded, graded=sizes.graded
    )
    ours = config.batch_size / GPUS[0].seconds([(1, load)])
    theirs = config.samples / GPUS[0].seconds(cell_cost(config).training)
    return row(f"{name}, istree {mode} n={n}", ours, theirs, "samples/s", "transformer 2m, both by the roofline")
