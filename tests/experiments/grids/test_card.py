"""Presets of the card are valid grids without repetitions, with equal settings for all models."""

import pytest

from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.experiments.grids.card import PRESETS
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rates import check_rates

every_preset = pytest.mark.parametrize("name", PRESETS)


def cells_of(name: str) -> list[RunConfig]:
    cells = [cell for cell in preset_cells(name) if isinstance(cell, RunConfig)]
    assert len(cells) == len(preset_cells(name))
    return cells


@every_preset
def test_every_cell_is_valid_and_occurs_once(name: str) -> None:
    cells = cells_of(name)
    for cell in {(cell.task, cell.options, cell.mode, cell.n, cell.arch, cell.size): cell for cell in cells}.values():
        cell.validate()
    assert len(set(cells)) == len(cells)


@every_preset
def test_tokens_warm_up_clipping_and_precision_are_the_same_for_all_models(name: str) -> None:
    settings = {
        (c.batch_size, c.warmup_samples, c.max_grad_norm, c.precision, c.embedding, c.samples) for c in cells_of(name)
    }
    assert len(settings) == 1


@pytest.mark.parametrize("name", ["lr_window_demo", "lr_window_cpu"])
def test_grids_of_rates_have_the_same_rates_and_seeds_for_every_model(name: str) -> None:
    by_model: dict[tuple[object, ...], set[tuple[float, int]]] = {}
    for cell in cells_of(name):
        by_model.setdefault((cell.arch, cell.size, cell.n), set()).add((cell.lr, cell.seed))
    assert len(set(map(frozenset, by_model.values()))) == 1
    check_rates([rate for rate, _ in next(iter(by_model.values()))])


def test_tests_at_other_sizes_have_the_vocabulary_of_training() -> None:
    for name, sizes in (("find_path_demo", (10, 20, 40)), ("find_path_cpu", (10, 1_000)), ("tracking_demo", (8, 64))):
        for cell in cells_of(name):
            vocabularies = {
                RunConfig(**{**cell.to_json(), "n": n}).build_task("test").vocabulary for n in (cell.n, *sizes)
            }
            assert len(vocabularies) == 1
