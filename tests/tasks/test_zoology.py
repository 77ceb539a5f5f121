"""MQAR as Zoology's own generator draws it: `ZOOLOGY=FOLDER pytest tests/tasks/test_zoology.py`, with FOLDER a clone of
HazyResearch/zoology.

The definition, transcribed in `tasks/plain.py`, is compared in test_recall_laws.py without a clone.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.tasks.test_recall_laws import assert_same_law, pairs_of, samples, slots_of

CLONE = Path(os.environ.get("ZOOLOGY", ""))
pytestmark = pytest.mark.skipif(
    "ZOOLOGY" not in os.environ, reason="the oracle, a clone of HazyResearch/zoology, is not named in ZOOLOGY"
)
COUNT = 6_000


@pytest.fixture
def multiquery_ar(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.syspath_prepend(CLONE)
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))  # it is imported there, and not used here
    from zoology.data.multiquery_ar import multiquery_ar  # type: ignore[import-not-found]

    return multiquery_ar  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("n", "pairs", "vocab", "power"),
    [(64, 4, 72, 0.01), (64, 6, 256, 0.3), (64, 16, 256, 1.0), (256, 16, 8_192, 0.01)],
)
def test_keys_values_and_slots_are_drawn_as_by_zoology(
    multiquery_ar: Callable[..., Any], n: int, pairs: int, vocab: int, power: float
) -> None:
    drawn = multiquery_ar(vocab, COUNT, n, seed=1, power_a=power, num_kv_pairs=pairs, random_non_queries=False)
    theirs = [["[BOS]", *map(str, row)] for row in drawn.inputs.tolist()]
    ours = samples("mqar", n, f"pairs={pairs} vocab={vocab} power={power}", COUNT, family="zero_filler")
    pairs_2 = [[pairs_of(words, pairs) for words in words_of] for words_of in (ours, theirs)]
    slots_2 = [[slots_of(words, pairs) for words in words_of] for words_of in (ours, theirs)]
    for place in (0, 1, pairs - 1):
        for part in (0, 1):
            assert_same_law(*([of[place][part] * 64 // vocab for of in drawn] for drawn in pairs_2))
        assert_same_law(*([slots[place] for slots in drawn] for drawn in slots_2))
    assert_same_law(*([slots[1] - slots[0] for slots in drawn] for drawn in slots_2))
