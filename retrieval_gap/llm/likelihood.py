"""Likelihoods of given tokens after others, by any causal model of `transformers`.

Rows are padded on the right: in a causal model of any architecture a token changes nothing before it, so no mask is
needed.

Axes: B rows, L positions, K the last positions whose logits are kept, T tokens of a continuation, V vocabulary.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from retrieval_gap.llm.fitting import run_in_memory


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Tokens whose likelihood after `context` is wanted; neither is empty."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens that the model has to read; the last one is only looked up."""
        return self.context + self.tokens[:-1]


def log_likelihoods(
    model: Any, asked: Sequence[Sequence[Continuation]], *, pad: int, batch_size: int, done: Callable[[int, Any], None]
) -> None:
    """Call `done` with each group's index and its continuations' log-likelihoods in nats, as soon as they are known.

    If what a continuation reads is a prefix of what another of its group reads, it is not read again, as for answers of
    one token.  Raises RunError if one row alone does not fit into memory.
    """
    rows = [(place, row) for place, group in enumerate(asked) for row in _longest({each.read for each in group})]
    rows.sort(key=lambda row: -len(row[1]))
    left = [sum(place == at for at, _ in rows) for place in range(len(asked))]
    found: list[dict[Continuation, float]] = [{} for _ in asked]

    def read(batch: list[tuple[int, tuple[int, ...]]]) -> list[dict[Continuation, float]]:
        wanted = [[each for each in asked[place] if each.read == row[: len(each.read)]] for place, row in batch]
        return _batch(model, [row for _, row in batch], wanted, pad)

    while rows:
        batch, rows = rows[:batch_size], rows[batch_size:]
        for part, sums in run_in_memory(batch, read, lambda row: _too_large(row[1])):
            for (place, _), found_now in zip(part, sums, strict=True):
                found[place] |= found_now
                left[place] -= 1
                if not left[place]:
                    done(place, [found[place][each] for each in asked[place]])


def _longest(rows: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The rows that are not a prefix of another."""
    kept: list[tuple[int, ...]] = []
    for row in sorted(rows, reverse=True):  # a row comes right after those that it is a prefix of
        if not kept or kept[-1][: len(row)] != row:
            kept.append(row)
    return kept


def _too_large(row: tuple[int, ...]) -> str:
    return f"there is not enough memory to read {len(row)} tokens; --precision bf16 or --device-map auto need less"


@torch.inference_mode()
def _batch(
    model: Any, rows: list[tuple[int, ...]], wanted: list[list[Continuation]], pad: int
) -> list[dict[Continuation, float]]:
    width = max(map(len, rows))
    first = min(len(each.context) - 1 for group in wanted for each in group)  # the first position that is needed
    device = model.get_input_embeddings().weight.device
    tokens_BxL = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=device)
    only = {"logits_to_keep": width - first} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    logits_BxKxV = model(tokens_BxL, use_cache=False, **only).logits
    first = width - logits_BxKxV.shape[1]
    return [
        {each: _likelihood(logits_BxKxV[i, len(each.context) - 1 - first :], each) for each in group}
        for i, group in enumerate(wanted)
    ]


def _likelihood(logits_KxV: torch.Tensor, asked: Continuation) -> float:
    tokens_T = torch.tensor(asked.tokens, device=logits_KxV.device)
    told_TxV = torch.log_softmax(logits_KxV[: len(asked.tokens)].float(), dim=-1)
    return float(told_TxV.gather(1, tokens_T[:, None]).sum())
