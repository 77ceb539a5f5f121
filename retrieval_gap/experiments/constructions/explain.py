"""What each layer of a construction does, in words, and what each direction holds, for one small sample."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from retrieval_gap.experiments.constructions.config import Setup
from retrieval_gap.tasks.api import BOS
from retrieval_gap.theory.constructions import Construction
from retrieval_gap.theory.constructions.program import ANSWER

PLACES = 6  # tokens whose directions are shown
CELL = 14  # characters of one value
_NUMBERS = "numbers: a token's is its place in the vocabulary, [BOS] 0; a flag is 0 or 1; a^2 is the square of a"


def explain(setup: Setup) -> Iterator[str]:
    """Lines of text about the first sample: its trace, then what each layer writes at the first places whose next
    token the construction writes itself."""
    model, task = setup.build(), setup.build_task()
    gold = task.sample(np.arange(1))
    tokens_L, prompt = gold.tokens_BxL[0, : gold.length_B[0]], int(gold.prompt_len_B[0])
    words = task.vocabulary
    yield f"{task.name}, n = {task.config.n}, by {setup.how} (theorem {model.theorem}), the first test sample"
    yield f"given    {_spelled(words, tokens_L[:prompt])}"
    yield f"written  {_spelled(words, tokens_L[prompt:])}"
    places_P = _places(gold.loss_mask_BxL[0])
    tokens_1xL = torch.from_numpy(tokens_L[None, :-1].astype(np.int64))
    with torch.inference_mode():
        x_LxD = model.read(tokens_1xL, model.init_state(1))[0][0]
    value_PxD = x_LxD[places_P].numpy()
    yield f"below: what stands in the stream where these tokens are read ({_NUMBERS})"
    width = max(map(len, model.names)) + 4
    yield _line("", [words[t] for t in tokens_L[places_P]], width)
    yield _line("place", [str(place) for place in places_P], width)
    written = set(model.names) - {name for layer in model.layers for name in layer.writes}
    yield from _values(model, [name for name in model.names if name in written], value_PxD, width)
    for place, layer in enumerate(model.layers, 1):
        yield f"{place}. {layer.kind}: {layer.words}"
        yield from _values(model, layer.writes, value_PxD, width)
    answers = [round(value) + BOS for value in value_PxD[:, model.names.index(ANSWER)].tolist()]
    yield _line("next token", [words[a] if 0 <= a < len(words) else "?" for a in answers], width)


def _places(graded_L: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The places just before the first graded tokens."""
    return np.flatnonzero(graded_L)[:PLACES] - 1


def _values(
    model: Construction, names: tuple[str, ...] | list[str], value_PxD: NDArray[np.float64], width: int
) -> Iterator[str]:
    for name in names:
        values_P = value_PxD[:, model.names.index(name)]
        yield _line(name, [f"{value:.6g}" for value in values_P.tolist()], width)


def _line(name: str, cells: list[str], width: int) -> str:
    return (f"    {name:<{width}}" + "".join(f"  {cell:>{CELL}}" for cell in cells)).rstrip()


def _spelled(words: tuple[str, ...], tokens_L: NDArray[np.int32]) -> str:
    return " ".join(words[token] for token in tokens_L)
