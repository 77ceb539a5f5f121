"""The fewest bits of a number with which a construction still works, measured beside those that its proof states.

Axes: B samples, L positions, T tokens of a stretch, V vocabulary.
"""

from collections.abc import Callable

import numpy as np
import torch

from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.api import Batch, Task
from retrieval_gap.theory.constructions.construction import Construction
from retrieval_gap.theory.constructions.precision import FEWEST_BITS, Precision

TOKENS_AT_ONCE = 1 << 12  # read in one stretch, of all samples together


@torch.inference_mode()
def writes(construction: Construction, gold: Batch) -> bool:
    """Whether greedy decoding writes these traces, token for token.

    Each graded token has to be the most likely one behind the gold tokens before it.  By induction on the position that
    is what free decoding comes to, retrieved tokens being given in both; here a stretch of tokens is read at once, and
    the first wrong one ends it.
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
    """The fewest bits a number with which the traces of `samples` samples are exact, as they are with every more up to
    the `stated` ones: tried one after the other, since fewer that fail may hide still fewer that succeed by luck.

    Raises RunError where the traces are not exact with the stated bits.
    """
    gold, bits = task.sample(np.arange(samples)), stated
    if not writes(build(Precision(bits)), gold):
        raise RunError(f"{task.name}, n = {task.config.n}: not exact with the {bits} bits a number that are stated")
    while bits > FEWEST_BITS and writes(build(Precision(bits - 1)), gold):
        bits -= 1
    return bits
