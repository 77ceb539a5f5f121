"""Free decoding of IsTree, retrieval executed, beside decoding one sample at a time by re-reading the prefix.

The same weights, the same samples' distribution, the same greedy rule, in one run.  The second way is that of the
released evaluation code: once with our own forward pass, and where there is one with the public implementation, which
is what that code calls.  Models are untrained, so no answer stops a sample: all run to the token limit; retrieved
tokens count for both.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from retrieval_gap.decoding.decode import decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.experiments.grids.istree import ARCHITECTURES
from retrieval_gap.machine.memory import keep_freed_memory
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.huggingface import to_huggingface
from retrieval_gap.tasks.api import ENDSEARCH, Mode, Task, TaskConfig
from retrieval_gap.tasks.istree import IsTree

from . import row
from .training_step import PUBLIC, public_model

BATCH, SIZE = 512, "0.5m"
Forward = Callable[[torch.Tensor], torch.Tensor]
REREAD_TOKENS = {"cot": 24, "rag": 16}
ROUNDS = 3  # the fastest counts, of either way


def run() -> Iterator[dict[str, Any]]:
    """Tokens a second, for each architecture at size 0.5m, in cot and rag at n = 16."""
    keep_freed_memory()  # as `train` and `sweep` do
    modes: tuple[Mode, ...] = ("cot", "rag")
    for mode in modes:
        for arch in ARCHITECTURES:
            yield from _measure(arch, mode)


def _measure(arch: str, mode: Mode, n: int = 16) -> Iterator[dict[str, Any]]:
    task = IsTree(TaskConfig(n=n, mode=mode, split="test"))
    vocab = len(task.vocabulary)
    model = SequenceModel(ModelConfig(architecture=architecture(arch, SIZE), vocab_size=vocab)).eval()
    ours = _batched(model, task)
    peers: dict[str, Forward] = {"the prefix": model}
    if arch in PUBLIC:
        theirs = public_model(arch, SIZE, vocab).eval()
        theirs.load_state_dict(to_huggingface(model))
        peers[f"the prefix by transformers.{type(theirs).__name__}"] = lambda tokens: theirs(tokens).logits
    for what, forward in peers.items():
        name, against = f"decoding, {arch} {SIZE}, istree {mode} n={n}", f"one sample at a time, re-reading {what}"
        yield row(name, ours, _rereading(forward, task), "tokens/s", against)
    if arch in PUBLIC and mode == "cot":
        against = f"{type(theirs).__name__}.generate, with its cache, on the same batch"
        yield row(name, ours, _generating(theirs, task), "tokens/s", against)


def _batched(model: SequenceModel, task: Task) -> float:
    gold = task.sample(np.arange(BATCH))
    retriever = make_retriever(task) if task.config.mode == "rag" else None

    def work(limit: int) -> int:
        decoded = decode(
            model,
            gold.tokens_BxL,
            gold.prompt_len_B,
            answers=(),
            max_length=limit,
            retriever=retriever,
        )
        return int((decoded.length_B - gold.prompt_len_B).sum())

    work(int(gold.prompt_len_B[0]) + 2)  # compiles
    return max(_rate(lambda: work(task.max_length)) for _ in range(ROUNDS))


def _generating(theirs: Any, task: Task) -> float:
    """Greedy, without an end, as many tokens as we decode."""
    gold = task.sample(np.arange(BATCH))
    prompt = int(gold.prompt_len_B[0])
    prompts_BxL = torch.from_numpy(gold.tokens_BxL[:, :prompt]).long()

    def work(tokens: int) -> int:
        settings = GenerationConfig(max_new_tokens=tokens, do_sample=False, use_cache=True, pad_token_id=0)
        return BATCH * (theirs.generate(prompts_BxL, generation_config=settings).shape[1] - prompt)

    work(2)
    return max(_rate(lambda: work(task.max_length - prompt)) for _ in range(ROUNDS))


@torch.no_grad()
def _rereading(forward: Forward, task: Task) -> float:
    """Timed over a stretch in the middle of a trace, so that the prefix has the length it has on average."""
    gold = task.sample(np.arange(1))
    retriever = make_retriever(task) if task.config.mode == "rag" else None
    prompt, count = int(gold.prompt_len_B[0]), REREAD_TOKENS[task.config.mode]
    middle = prompt + (task.max_length - prompt) // 2
    prefix = np.resize(gold.tokens_BxL[0, :prompt], middle).tolist()

    def work() -> int:
        tokens = list(prefix)
        while len(tokens) < middle + count:
            tokens.append(int(forward(torch.tensor([tokens]))[0, -1].argmax()))
            if retriever is not None and tokens[-1] == ENDSEARCH:
                tokens_1xL = np.array([tokens], np.int32)
                tokens += retriever(tokens_1xL, np.array([len(tokens)], np.int32))[0].tolist()
        return len(tokens) - middle

    return max(_rate(work) for _ in range(ROUNDS))


def _rate(work: Callable[[], int]) -> float:
    begin = time.perf_counter()
    return work() / (time.perf_counter() - begin)
