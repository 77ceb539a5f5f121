"""Labelled texts for heads over a language model's states: generated order tasks, and readers of public sets.

A generated set is one file of this folder that defines a `GeneratedTexts` as `TEXTS`.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from ..api import TaskError
from .api import METRICS, Example, LabelKind, TextSet
from .generated import GeneratedTexts
from .public import bbh, code_bugs, commonsenseqa, copa, ncbi, own, pubmedqa

__all__ = ["METRICS", "PUBLIC", "Example", "LabelKind", "TextSet", "generated_sets", "load_texts", "set_names"]

PUBLIC: dict[str, Callable[[Path | None], TextSet]] = {
    **{name: partial(bbh.read, name) for name in bbh.TASKS},
    "code_bugs": code_bugs.read,
    "commonsenseqa": commonsenseqa.read,
    "copa": copa.read,
    "ncbi": ncbi.read,
    "own": own.read,
    "pubmedqa": pubmedqa.read,
}


@cache
def generated_sets() -> dict[str, type[GeneratedTexts]]:
    """The `TEXTS` of every module of this folder that has one, by name."""
    modules = (importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__))
    return {module.TEXTS.name: module.TEXTS for module in modules if hasattr(module, "TEXTS")}


def set_names() -> list[str]:
    return sorted([*generated_sets(), *PUBLIC])


def load_texts(
    name: str, *, n: int = 64, samples: int = 2000, test_samples: int = 1000, seed: int = 0, data: Path | None = None
) -> TextSet:
    """The set of this name.  n, samples, test_samples, seed: for generated sets.  data: the file of a public set, or
    its folder.

    Raises TaskError for an unknown name, a number out of range, or an invalid file.
    """
    if name in generated_sets():
        return generated_sets()[name](n, seed).text_set(samples, test_samples)
    if name not in PUBLIC:
        near = difflib.get_close_matches(name, set_names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"unknown set of texts {name!r} (choose from {', '.join(set_names())}){hint}")
    return PUBLIC[name](data)
