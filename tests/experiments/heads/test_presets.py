"""Presets of heads: every head has its controls, and nothing is left out in silence."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval_gap.experiments.grids import heads
from retrieval_gap.experiments.heads.config import HeadsConfig
from tests.real_data import real


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETRIEVAL_GAP_DATA", str(tmp_path))
    (tmp_path / "coupling").mkdir()
    monkeypatch.setenv("RETRIEVAL_GAP_MODELS", str(tmp_path / "models"))


def _key(cell: HeadsConfig) -> tuple[str, int, str, int]:
    return cell.dataset, cell.n, cell.head, cell.seed


def test_the_demo_has_five_heads_on_three_sets_with_three_seeds() -> None:
    plain = Counter((cell.dataset, cell.seed) for cell in heads.heads_demo() if cell.control == "none")
    assert plain == {(name, seed): 5 for name in (*heads.DEMO_SETS, "copa") for seed in range(3)}


@pytest.mark.parametrize("preset", [heads.heads_demo, heads.heads_cpu])
def test_every_head_that_reads_order_is_also_run_on_shuffled_states(preset: Callable[[], list[HeadsConfig]]) -> None:
    cells = [cell for cell in preset() if cell.dataset in ("which_came_first", "negation_scope")]
    shuffled = {_key(cell) for cell in cells if cell.control == "shuffle_states" and cell.window == 0}
    ordered = {_key(c) for c in cells if c.control == "none" and c.spec.head().reads_order}
    assert shuffled == ordered


def test_in_long_texts_the_deciding_sentence_occurs_in_every_tenth() -> None:
    places = [example.place for example in heads.heads_middle()[0].texts().test if example.place is not None]
    of_tenths = Counter(min(9, int(10 * place)) for place in places)
    assert set(of_tenths) == set(range(10))
    assert min(of_tenths.values()) > 50


def test_every_tuned_cell_has_its_frozen_twin() -> None:
    cells = heads.heads_tuned()
    assert {_key(c) for c in cells if c.tune} == {_key(c) for c in cells if not c.tune}
    assert len(cells) == len({(*_key(c), c.tune) for c in cells})


def test_missing_data_and_models_are_left_out_and_reported_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "coupling").rmdir()
    assert {cell.dataset for cell in heads.heads_demo()} == set(heads.DEMO_SETS)
    assert capsys.readouterr().err.count("copa is left out") == 1
    assert heads.DECODER not in {Path(cell.model).name for cell in heads.heads_cpu()}
    assert capsys.readouterr().err.count(f"{heads.DECODER} is left out") == 1
    (tmp_path / "models" / heads.DECODER).mkdir(parents=True)
    assert heads.DECODER in {Path(cell.model).name for cell in heads.heads_cpu()}


def test_the_texts_of_demo_and_tuned_cells_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets exist in the sizes asked for."""
    monkeypatch.setenv("RETRIEVAL_GAP_DATA", str(real("coupling").parent))
    for cell in heads.heads_demo()[:30] + heads.heads_tuned():
        assert cell.texts().train
