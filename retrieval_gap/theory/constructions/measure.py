"""The fewest bits per number with which a construction still works, to compare with those that its proof states.

Axes: B samples, L positions, T tokens of a chunk, V vocabulary.
"""

from collections.abc import Callable

import numpy as np
import torch

from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.api import Batch, Task
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.precision import FEWEST_BITS, Precision

TOKENS_AT_ONCE = 1 << 12  # tokens of a chunk, of all samples together


@torch.inference_mode()
def writes(construction: Construction, gold: Batch) -> bool:
    """Whether greedy decoding writes these traces, token for token.

    Each graded token must be the most likely one after the gold tokens before it (teacher forcing).  By induction on
    the position this is equivalent to free decoding, as retrieved tokens are given in both; but here tokens are read in
    chunks, and the first wrong one ends the check.
    """
    tokens_BxL = torch.from_numpy(gold.tokens_BxL).long()
    graded_BxL = torch.from_numpy(gold.loss_mask_BxL)
    batch, length = tokens_BxL.shape
    stretch, state = max(1, TOKENS_AT_ONCE // batch), construction.init_state(batch)
    for first in range(0, length - 1, stretch):
        read, said = (slice(first + k, min(first + stretch, length - 1) + k) for k in (0, 1))
        logits_BxTxV, state = construction.extend(tokens_BxL[:, read], state)
        wrong_BxT = logits_BxTxV.argmax(-1) != tokens_BxL[:, said]
        if bool((wrong_BxT & graded_BxL[:, said]).any()):
            return False
    return True


def smallest_precision(build: Callable[[Precision], Construction], task: Task, stated: int, samples: int = 20) -> int:
    """The fewest bits per number such that the traces of `samples` samples are exact with these and with every larger
    number of bits up to `stated`.  All are tried in turn from `stated` down, since bits below a failure may succeed by
    luck.

    Raises RunError if the traces are not exact with the stated bits.
    """
    gold, bits = task.sample(np.arange(samples)), stated
    if not writes(build(Precision(bits)), gold):
        raise RunError(f"{task.name}, n = {task.config.n}: not exact with the {bits} bits a number that are stated")
    while bits > FEWEST_BITS and writes(build(Precision(bits - 1)), gold):
        bits -= 1
    return bits
