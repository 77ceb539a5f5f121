"""Free decoding of IsTree, retrieval executed, beside decoding one sample at a time by re-reading the prefix.

The same weights, the same distribution of samples, the same greedy rule, in one run.  The second way is that of the
released evaluation code: once with our own forward pass and, if there is one, with the public implementation, which
that code calls.  Models are untrained and no answer stops a sample: all run to the token limit; retrieved tokens count
for both.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GenerationConfig

from retrieval_gap.decoding.decode import Decoded, decode
from retrieval_gap.decoding.retrieval import make_retriever
from retrieval_gap.experiments.grids.istree import ARCHITECTURES
from retrieval_gap.machine.freed_memory import keep_freed_memory
from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.huggingface import to_huggingface
from retrieval_gap.tasks.api import ENDSEARCH, Mode, Task, TaskConfig
from retrieval_gap.tasks.istree import IsTree

from . import row, seconds_of
from .training_step import PUBLIC, public_model

BATCH, SIZE = 512, "0.5m"
Forward = Callable[[torch.Tensor], torch.Tensor]
REREAD_TOKENS = {"cot": 24, "rag": 16}
ROUNDS = 3  # the fastest counts, for both ways


def run() -> Iterator[dict[str, Any]]:
    """Tokens per second, for each architecture at size 0.5m, in cot and rag at n = 16."""
    keep_freed_memory()  # as `train` and `sweep` do
    modes: tuple[Mode, ...] = ("cot", "rag")
    for mode in modes:
        for arch in ARCHITECTURES:
            yield from _measure(arch, mode)


def _measure(arch: str, mode: Mode, n: int = 16) -> Iterator[dict[str, Any]]:
    task = IsTree(TaskConfig(n=n, mode=mode, split="test"))
    vocab = len(task.vocabulary)
    model = SequenceModel(ModelConfig(architecture=architecture(arch, SIZE), vocab_size=vocab)).eval()
    ours, our_tokens_BxL = _batched(model, task)
    peers: dict[str, Forward] = {"the prefix": model}
    if arch in PUBLIC:
        theirs = public_model(arch, SIZE, vocab).eval()
        theirs.load_state_dict(to_huggingface(model))
        peers[f"the prefix by transformers.{type(theirs).__name__}"] = lambda tokens: theirs(tokens).logits
    for what, forward in peers.items():
        name, against = f"decoding, {arch} {SIZE}, istree {mode} n={n}", f"one sample at a time, re-reading {what}"
        yield row(name, ours, _rereading(forward, task), "tokens/s", against)
    if arch in PUBLIC and mode == "cot":
        rate, their_tokens_BxL = _generating(theirs, task)
        same = (our_tokens_BxL == their_tokens_BxL).all(1).mean()
        against = f"{type(theirs).__name__}.generate, with its cache, same batch, same tokens in {same:.1%} of samples"
        yield row(name, ours, rate, "tokens/s", against)


def _batched(model: SequenceModel, task: Task) -> tuple[float, NDArray[np.int32]]:
    """Tokens per second, and the tokens."""
    gold = task.sample(np.arange(BATCH))
    retriever = make_retriever(task) if task.config.mode == "rag" else None

    def decoded(limit: int) -> Decoded:
        given = (model, gold.tokens_BxL, gold.prompt_len_B)
        return decode(*given, answers=(), max_length=limit, retriever=retriever)

    decoded(int(gold.prompt_len_B[0]) + 2)  # compiles
    whole = decoded(task.max_length)
    tokens = int((whole.length_B - gold.prompt_len_B).sum())
    seconds = min(seconds_of(lambda: decoded(task.max_length)) for _ in range(ROUNDS))
    return tokens / seconds, whole.tokens_BxL


def _generating(theirs: Any, task: Task) -> tuple[float, NDArray[np.int32]]:
    """Greedy, without an end token, as many tokens as we decode: tokens per second, and the tokens."""
    gold = task.sample(np.arange(BATCH))
    prompt = int(gold.prompt_len_B[0])
    prompts_BxL = torch.from_numpy(gold.tokens_BxL[:, :prompt]).long()

    def generated(tokens: int) -> torch.Tensor:
        settings = GenerationConfig(max_new_tokens=tokens, do_sample=False, use_cache=True, pad_token_id=0)
        return theirs.generate(prompts_BxL, generation_config=settings)

    generated(2)
    whole = generated(task.max_length - prompt)
    seconds = min(seconds_of(lambda: generated(task.max_length - prompt)) for _ in range(ROUNDS))
    return BATCH * (whole.shape[1] - prompt) / seconds, whole.numpy().astype(np.int32)


@torch.no_grad()
def _rereading(forward: Forward, task: Task) -> float:
    """Timed over a stretch in the middle of a trace, so that the prefix has its average length."""
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

    return work() / min(seconds_of(work) for _ in range(ROUNDS))
