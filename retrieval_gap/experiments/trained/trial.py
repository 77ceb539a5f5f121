"""Tries a user's own task or architecture before a run starts, to report faults early."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from retrieval_gap.machine.errors import UsageError, fault
from retrieval_gap.tasks.api import CONTROL_TOKENS, Batch, Split, Task, TaskError
from retrieval_gap.tasks.containment import contained

if TYPE_CHECKING:
    from retrieval_gap.models import ModelConfig

TRIED = np.arange(2)
COMPARED = 64  # samples of each split


def try_task(task: Task, path: str) -> None:
    """Raises TaskError, naming the file, if a few samples break a promise of `tasks.api`."""
    try:
        with contained():
            batch = task.sample(TRIED)
            broken = _no_batch(batch) or _broken_promise(task, batch) or _broken_law(task)
    except TaskError:
        raise
    except Exception as error:
        raise TaskError(f"task {path} fails: {fault(error)}") from error
    if broken:
        raise TaskError(f"task {path}: {broken} (see retrieval_gap.tasks.api.Task and Batch)")


def _broken_law(task: Task) -> str:
    """What is wrong with the samples: they depend on their place in the batch, or two splits share a problem; or ""."""
    together, alone = task.sample(TRIED), task.sample(TRIED[1:])
    if _prompts(together)[1] != _prompts(alone)[0]:
        return "sample 1 differs when it is drawn without sample 0: a sample is a function of its number alone"
    seen: dict[tuple[int, ...], str] = {}
    for split in get_args(Split):
        try:
            other = type(task)(replace(task.config, split=split))
            batch = other.sample(np.arange(other.to_evaluate(COMPARED)))
        except TaskError:
            continue  # this size has no problem for the split; a run that needs it fails then
        for prompt in _prompts(batch):
            if seen.setdefault(prompt, split) != split:
                return f"one prompt is in the splits {seen[prompt]} and {split}; a problem belongs to one (split_name)"
    return ""


def _prompts(batch: Batch) -> list[tuple[int, ...]]:
    return [tuple(row[:length]) for row, length in zip(batch.tokens_BxL.tolist(), batch.prompt_len_B, strict=True)]


def _no_batch(given: object) -> str:
    """How what `sample` returns is no `Batch` of arrays, or ""."""
    if not isinstance(given, Batch):
        return f"sample returns {_article(given)}, not a Batch"
    wrong = next((name for name, value in vars(given).items() if not isinstance(value, np.ndarray)), "")
    return f"{wrong} is {_article(getattr(given, wrong))}, not an array" if wrong else ""


def _article(value: object) -> str:
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _broken_vocabulary(vocabulary: Sequence[str]) -> str:
    if tuple(vocabulary[: len(CONTROL_TOKENS)]) != CONTROL_TOKENS:
        return "vocabulary does not begin with CONTROL_TOKENS"
    twice = next((word for word, count in Counter(vocabulary).items() if count > 1), None)
    if twice is not None:
        return f"vocabulary has {twice!r} twice"
    split = next((word for word in vocabulary if word.split() != [word]), None)
    return "" if split is None else f"vocabulary has {split!r}; words are shown with spaces between them, and have none"


def _broken_promise(task: Task, batch: Batch) -> str:
    """The first promise that does not hold, or ""."""
    tokens_BxL, mask_BxL = batch.tokens_BxL, batch.loss_mask_BxL
    of_samples = (batch.prompt_len_B, batch.length_B, batch.answer_B)
    if told := _broken_vocabulary(task.vocabulary):
        return told
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
    if (tokens_BxL[TRIED, batch.length_B - 1] != batch.answer_B).any():
        return "answer_B is not the last token of the trace"
    if not mask_BxL[TRIED, batch.prompt_len_B].all():
        return "the first token behind the prompt is not graded"
    graded_B = (np.isin(tokens_BxL, task.answers) & mask_BxL).sum(1)
    if (graded_B != task.questions).any():
        return f"a trace grades {graded_B.max()} answers, and questions is {task.questions}"
    return ""


def try_architecture(model_config: Callable[[], "ModelConfig"], task: Task, path: str) -> None:
    """Raises UsageError, naming the file, if a model of it cannot take one step of training or of decoding, has a
    parameter that nothing depends on, a buffer that training changes, or a layer that breaks a promise of `Mixer`."""
    import torch

    from retrieval_gap.models import SequenceModel
    from retrieval_gap.models.trial import broken_promise, changed_buffer, first_step, misfit, without_gradient

    package = not path.endswith(".py")  # its layers may run only on CUDA
    device = torch.device("cuda" if package and torch.cuda.is_available() else "cpu")
    try:
        with contained():
            model, batch = SequenceModel(model_config()).to(device), task.sample(TRIED)
            arrays = (batch.tokens_BxL, batch.loss_mask_BxL)
            tokens_BxL, mask_BxL = (torch.from_numpy(array).to(device) for array in arrays)
            broken, changed, unused = misfit(model), "", list[str]()
            if not broken:
                changed = changed_buffer(model, lambda: first_step(model, tokens_BxL, mask_BxL))
                unused, broken = without_gradient(model.trained_parameters()), broken_promise(model, path)
    except Exception as error:
        raise UsageError(f"architecture {path} fails: {fault(error)}") from error
    if changed:
        raise UsageError(
            f"architecture {path}: training changes its buffer {changed}, and only parameters are kept; take a layer "
            "without it, such as layer norm in place of batch norm"
        )
    if broken:
        raise UsageError(f"architecture {path}: {broken} (see retrieval_gap.models.mixer.Mixer)")
    if unused:
        named = f"{unused[0]}{f' and {len(unused) - 1} more' if len(unused) > 1 else ''}"
        raise UsageError(
            f"architecture {path}: no output depends on the parameter {named}; leave it out, or freeze it with "
            "requires_grad = False"
        )
