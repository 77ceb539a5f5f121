"""Whether a head keeps to its mask: what stands behind a text's end, and how much of it, must not change its scores."""

import torch

from retrieval_gap.heads.head import Head
from retrieval_gap.machine.errors import UsageError

LENGTHS, LONGEST, MORE = (1, 4, 7), 7, 5
LOUD = 100.0  # what is put behind the ends


@torch.no_grad()
def check_mask(head: Head, shown: str, *, tokens: bool = False) -> None:
    """Raises UsageError for a head that reads what its mask says is not there, or gives scores of another shape."""
    d_states, d_out = head.shape.d_states, head.shape.d_out
    draws = torch.Generator().manual_seed(0)
    states_BxLxD = torch.randn(len(LENGTHS), LONGEST + MORE, d_states, generator=draws)
    mask_BxL = torch.arange(LONGEST + MORE) < torch.tensor(LENGTHS)[:, None]
    states_BxLxD = torch.where(mask_BxL[..., None], states_BxLxD, LOUD * states_BxLxD)
    scores = (head.token_scores if tokens else head)(states_BxLxD, mask_BxL)
    wanted = (len(LENGTHS), LONGEST + MORE, d_out) if tokens else (len(LENGTHS), d_out)
    if tuple(scores.shape) != wanted:
        raise UsageError(f"head {shown} gives scores of shape {tuple(scores.shape)}; {wanted} is wanted")
    for row, length in enumerate(LENGTHS):
        alone_1xLxD, all_1xL = states_BxLxD[row : row + 1, :length], mask_BxL[row : row + 1, :length]
        alone = (head.token_scores if tokens else head)(alone_1xLxD, all_1xL)[0]
        among = scores[row, :length] if tokens else scores[row]
        if not torch.allclose(alone, among, atol=1e-4, rtol=1e-4):
            raise UsageError(
                f"head {shown} ignores its mask: a text of {length} tokens gets other scores when something stands "
                "behind its end (docs/heads.md, A head of your own)"
            )
