"""Tries a user's own task or architecture on two samples before a run starts: what is wrong with it is told at once."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from retrieval_gap.machine.errors import UsageError, fault
from retrieval_gap.tasks.api import CONTROL_TOKENS, Batch, Task, TaskError

if TYPE_CHECKING:
    from retrieval_gap.models import ModelConfig

TRIED = np.arange(2)


def try_task(task: Task, path: str) -> None:
    """Raises TaskError, naming the file, where two samples break what `tasks.api` promises."""
    try:
        broken = _broken_promise(task, task.sample(TRIED))
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"task {path} fails: {fault(error)}") from error
    if broken:
        raise TaskError(f"task {path}: {broken} (see tasks/api.py)")


def _broken_promise(task: Task, batch: Batch) -> str:
    """The first promise that does not hold, or ""."""
    tokens_BxL, mask_BxL = batch.tokens_BxL, batch.loss_mask_BxL
    of_samples = (batch.prompt_len_B, batch.length_B, batch.answer_B)
    if tuple(task.vocabulary[: len(CONTROL_TOKENS)]) != CONTROL_TOKENS:
        return "vocabulary does not begin with CONTROL_TOKENS"
    if tokens_BxL.ndim != 2 or len(tokens_BxL) != len(TRIED) or mask_BxL.shape != tokens_BxL.shape:
        return f"tokens_BxL and loss_mask_BxL are of shapes {tokens_BxL.shape}, {mask_BxL.shape}"
    if mask_BxL.dtype != np.bool_ or any(array.dtype.kind != "i" for array in (tokens_BxL, *of_samples)):
        return "loss_mask_BxL is bool, the other arrays of a Batch are int32"
    if any(array.shape != TRIED.shape for array in of_samples):
        return "prompt_len_B, length_B and answer_B hold one number a sample"
    if tokens_BxL.min() < 0 or tokens_BxL.max() >= len(task.vocabulary):
        return f"tokens reach {tokens_BxL.max()}, the vocabulary has {len(task.vocabulary)}"
    longest = min(tokens_BxL.shape[1], task.max_length)
    for prompt, length in zip(batch.prompt_len_B, batch.length_B, strict=True):
        if not 1 <= prompt < length <= longest:
            return f"1 <= prompt_len ({prompt}) < length ({length}) <= max_length ({longest}) does not hold"
    if not mask_BxL[:, 1:].any():
        return "loss_mask_BxL grades no token"
    if not np.isin(batch.answer_B, task.answers).all():
        return "answer_B is not among answers"
    graded_B = (np.isin(tokens_BxL, task.answers) & mask_BxL).sum(1)
    if (graded_B != task.questions).any():
        return f"a trace grades {graded_B.max()} answers, and questions is {task.questions}"
    return ""


def try_architecture(model_config: Callable[[], "ModelConfig"], task: Task, path: str) -> None:
    """Raises UsageError, naming the file, where a model of it cannot take one step of training or of decoding."""
    import torch

    from retrieval_gap.models import SequenceModel
    from retrieval_gap.models.mixer import state_tensors

    try:
        model, batch = SequenceModel(model_config()), task.sample(TRIED)
        if not len(model.layers):
            raise ValueError("layers() is empty")
        tokens_BxL = torch.from_numpy(batch.tokens_BxL)
        model.loss(tokens_BxL, torch.from_numpy(batch.loss_mask_BxL)).backward()
        with torch.no_grad():
            _, state = model.prefill(tokens_BxL[:, :1])
            state_tensors(model.step(tokens_BxL[:, 1], state)[1])
    except Exception as error:
        raise UsageError(f"architecture {path} fails: {fault(error)}") from error
