"""Try out a user's own head, to report what would make a run fail before it starts."""

import torch

from retrieval_gap.heads.head import Head
from retrieval_gap.heads.padding_test import LENGTHS, LONGEST, check_mask
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.models.trial import changed_buffer, without_gradient


def try_head(head: Head, shown: str, *, tokens: bool = False) -> None:
    """Raises UsageError for a head with a parameter that no score depends on, with a buffer that training changes, or
    that ignores its mask."""
    changed = changed_buffer(head, lambda: _first_step(head, tokens=tokens))
    unused = without_gradient(head.trained_parameters())
    if unused:
        named = f"{unused[0]}{f' and {len(unused) - 1} more' if len(unused) > 1 else ''}"
        raise UsageError(
            f"head {shown}: no score depends on the parameter {named}; leave it out, or freeze it with "
            "requires_grad = False"
        )
    if changed:
        raise UsageError(
            f"head {shown}: training changes its buffer {changed}, and only parameters are kept; take a layer "
            "without it, such as layer norm in place of batch norm"
        )
    check_mask(head, shown, tokens=tokens)


def _first_step(head: Head, *, tokens: bool) -> None:
    """One forward and backward pass in training mode; the gradients are kept."""
    mask_BxL = torch.arange(LONGEST) < torch.tensor(LENGTHS)[:, None]
    score = head.token_scores if tokens else head
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        score(torch.randn(*mask_BxL.shape, head.shape.d_states), mask_BxL).sum().backward()
