"""A whole training step (forward, backward, AdamW) at size 0.5m, beside the public CPU implementations.

Batch 64, length 100, the same weights, the same tokens, fp32; both in one process, in turn, the least time of each.
Once by the clock on all cores and, for the Transformer, whose steps are short, again on one thread by the processor's
time, which other programs on the machine disturb less.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

from retrieval_gap.models import ModelConfig, SequenceModel, architecture
from retrieval_gap.models.huggingface import to_huggingface

from . import least_in_turn, row

BATCH, LENGTH, VOCAB = 64, 100, 26
SIZE = "0.5m"
# A step of the public Mamba takes most of a minute.
ROUNDS = {"transformer": 10, "mamba": 2}
PUBLIC = tuple(ROUNDS)


def run() -> Iterator[dict[str, Any]]:
    """Samples per second: the Transformer and Mamba beside `transformers`, Mamba beside `mambapy`'s parallel scan."""
    for arch, rounds in ROUNDS.items():
        theirs = public_model(arch, SIZE, VOCAB)
        peer = Peer(f"transformers.{type(theirs).__name__}", theirs, _logits_of(theirs))
        yield _measure(arch, peer, rounds, time.perf_counter, "all cores")
        if arch == "transformer":
            with _one_thread():
                yield _measure(arch, peer, rounds, time.process_time, "one thread, processor time")
    yield _measure("mamba", _mambapy(SIZE, VOCAB), ROUNDS["mamba"], time.perf_counter, "all cores")


@dataclass(frozen=True)
class Peer:
    """A public implementation: its name, the module that has its parameters, and tokens (B, L) to logits (B, L, V)."""

    name: str
    model: torch.nn.Module
    logits: Callable[[torch.Tensor], torch.Tensor]


def _measure(arch: str, peer: Peer, rounds: int, clock: Callable[[], float], how: str) -> dict[str, Any]:
    ours = SequenceModel(ModelConfig(architecture=architecture(arch, SIZE), vocab_size=VOCAB))
    peer.model.load_state_dict(to_huggingface(ours))
    tokens_BxL = torch.randint(0, VOCAB, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    mask_BxL = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    for name, parameter in peer.model.named_parameters():
        parameter.requires_grad_("embed" not in name and "lm_head" not in name)  # ours are frozen
    our_step = _step(ours, lambda: ours.loss(tokens_BxL, mask_BxL))
    their_step = _step(peer.model, lambda: _loss(peer, tokens_BxL))
    our_step()  # compiles
    _step(peer.model, lambda: _loss(peer, tokens_BxL[:, :4]))()  # warms up
    ours_per_s, theirs_per_s = (BATCH / seconds for seconds in least_in_turn(our_step, their_step, rounds, clock))
    name = f"training step, {arch} {SIZE}, batch {BATCH}, length {LENGTH}, {how}"
    return row(name, ours_per_s, theirs_per_s, "samples/s", peer.name)


def _logits_of(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tokens_BxL: model(tokens_BxL).logits


def _loss(peer: Peer, tokens_BxL: torch.Tensor) -> torch.Tensor:
    logits_BxLxV = peer.logits(tokens_BxL)
    return torch.nn.functional.cross_entropy(logits_BxLxV[:, :-1].flatten(0, 1), tokens_BxL[:, 1:].flatten())


def _mambapy(size: str, vocab_size: int) -> Peer:
    """The layers of `mambapy`, under the names of Hugging Face's weights."""
    from mambapy.mamba import Mamba, MambaConfig, RMSNorm

    sizes = architecture("mamba", size)
    layers = Mamba(MambaConfig(d_model=sizes.d_model, n_layers=sizes.n_layers)).layers  # type: ignore[attr-defined]
    parts = {"embeddings": torch.nn.Embedding(vocab_size, sizes.d_model), "layers": layers}
    model = torch.nn.ModuleDict(
        {
            "backbone": torch.nn.ModuleDict(parts | {"norm_f": RMSNorm(sizes.d_model)}),
            "lm_head": torch.nn.Linear(sizes.d_model, vocab_size, bias=False),
        }
    )

    def logits(tokens_BxL: torch.Tensor) -> torch.Tensor:
        x_BxLxD = model["backbone"]["embeddings"](tokens_BxL)  # type: ignore[index]
        for layer in layers:
            x_BxLxD = layer(x_BxLxD)
        return model["lm_head"](model["backbone"]["norm_f"](x_BxLxD))  # type: ignore[index]

    return Peer("mambapy, with its parallel scan", model, logits)


def public_model(arch: str, size: str, vocab_size: int) -> Any:
    """The implementation in `transformers` of an architecture in `PUBLIC`, untrained."""
    sizes = architecture(arch, size)
    if arch == "transformer":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocab_size,
                hidden_size=sizes.d_model,
                intermediate_size=sizes.d_ff,  # type: ignore[attr-defined]
                num_hidden_layers=sizes.n_layers,  # type: ignore[attr-defined]
                num_attention_heads=sizes.n_heads,  # type: ignore[attr-defined]
                rms_norm_eps=1e-5,
                tie_word_embeddings=True,
                use_cache=False,
            )
        )
    return MambaForCausalLM(
        MambaConfig(
            vocab_size=vocab_size,
            hidden_size=sizes.d_model,
            num_hidden_layers=sizes.n_layers,  # type: ignore[attr-defined]
            state_size=16,
            layer_norm_epsilon=1e-5,
            use_cache=False,
        )
    )


def _step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
