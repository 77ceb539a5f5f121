"""Free decoding on a GPU, retrieval executed there: as many samples as the paper evaluates, each to the token limit.

Models are untrained and no token is an answer, so none stops early and all reach the limit: no trained model takes
longer.  Two rows for each architecture: samples per second, captures included, beside 5,000 in a minute; and tokens
per second beside the loop that looks at every token, on the same GPU, over its first tokens.
"""

import time

import numpy as np
import torch

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.device_retrieval import make_device_retriever
from retrieval_gap.decoding.evaluation import decode_batch
from retrieval_gap.decoding.on_device import DeviceDecoder, ShrinkingDecoder
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.tasks.api import Batch, Task, TaskConfig
from retrieval_gap.tasks.istree import IsTree

from . import Row, row

NEEDS_GPU = True
DEVICE = "cuda"
SIZE, NODES = "0.5m", 64
SAMPLES, TARGET_S = 5_000, 60.0
LOOKED_AT_TOKENS = 64


def run() -> list[Row]:
    """Two rows for each architecture, in rag."""
    task = IsTree(TaskConfig(n=NODES, mode="rag", split="test"))
    gold = task.sample(np.arange(SAMPLES))
    return [told for arch in ARCHITECTURES for told in _measure(arch, task, gold)]


def _measure(arch: str, task: Task, gold: Batch) -> list[Row]:
    device = torch.device(DEVICE)
    model = SequenceModel(ModelConfig(architecture=architecture(arch, SIZE), vocab_size=len(task.vocabulary)))
    model = model.eval().to(device)
    rows = min(SAMPLES, decode_batch(model.state_bits(task.max_length), device))
    seconds = _decoding_seconds(model, task, gold, rows)
    written = int((task.max_length - gold.prompt_len_B).sum())
    name = f"decoding, {arch} {SIZE}, istree rag n={NODES}, {rows} at once"
    return [
        row(name, SAMPLES / seconds, SAMPLES / TARGET_S, "samples/s", f"{SAMPLES:,} in {TARGET_S:.0f} s"),
        row(name, written / seconds, _looking_tokens_per_s(model, task, gold, rows), "tokens/s", "a look at each"),
    ]


def _decoding_seconds(model: SequenceModel, task: Task, gold: Batch, rows: int) -> float:
    def make(at_once: int) -> DeviceDecoder:
        search = make_device_retriever(task)
        return DeviceDecoder(model, rows=at_once, answers=(), max_length=task.max_length, retriever=search)

    begin = time.perf_counter()
    ShrinkingDecoder(make, rows)(gold.tokens_BxL, gold.prompt_len_B)
    return time.perf_counter() - begin


def _looking_tokens_per_s(model: SequenceModel, task: Task, gold: Batch, rows: int) -> float:
    prompts_BxL, prompt_len_B, retriever = gold.tokens_BxL[:rows], gold.prompt_len_B[:rows], make_retriever(task)
    begin = time.perf_counter()
    decoded = decode(
        model,
        prompts_BxL,
        prompt_len_B,
        answers=(),
        max_length=int(prompt_len_B.max()) + LOOKED_AT_TOKENS,
        retriever=retriever,
    )
    return int((decoded.length_B - prompt_len_B).sum()) / (time.perf_counter() - begin)
