"""An architecture's own file says what it is, and is read without running it."""

import subprocess
import sys
from pathlib import Path

import pytest

from retrieval_gap.about import LAST, About, MeasuredState, about, in_order, state_kind
from retrieval_gap.models import ARCHITECTURES, ModelConfig, SequenceModel, architecture
from retrieval_gap.plots import style


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_every_architecture_describes_itself_and_its_state_grows_if_it_says_so(arch: str) -> None:
    told = ARCHITECTURES[arch].ABOUT
    assert about(arch) == told
    model = SequenceModel(ModelConfig(architecture=architecture(arch, "tiny"), vocab_size=16))
    assert told.state == ("grows" if model.state_bits(64) > model.state_bits(32) else "fixed")


def test_no_two_architectures_share_a_slot_so_that_colours_and_markers_differ() -> None:
    slots = [about(arch).slot for arch in ARCHITECTURES]
    assert len(set(slots)) == len(slots)
    for looks in (style.colours(list(ARCHITECTURES)), style.architecture_markers(list(ARCHITECTURES))):
        assert len(set(looks.values())) == len(ARCHITECTURES)


def test_a_users_file_is_read_and_not_run(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text('raise SystemExit("run")\nABOUT = About(name="Mine", state="fixed", slot=9)\n')
    assert about(str(mine)) == About(name="Mine", state="fixed", slot=9)


@pytest.mark.parametrize("text", ["", "ABOUT = About(name=make())\n", "ABOUT = About(state='fixed')\n", "def :\n"])
def test_a_file_without_a_usable_about_is_named_by_its_stem(tmp_path: Path, text: str) -> None:
    mine = tmp_path / "some_layer.py"
    mine.write_text(text)
    assert about(str(mine)) == About(name="some_layer", state="", slot=LAST)


def test_a_missing_file_and_the_path_of_a_layer_have_names() -> None:
    assert about("/nowhere/mingru.py").name == "mingru"
    assert about("fla.layers.GatedLinearAttention") == About(name="GatedLinearAttention", state="fixed")


def test_a_changed_architecture_names_its_change_and_leaves_the_slot_to_the_original() -> None:
    assert about("mamba+conv=4") == About(name="Mamba, conv=4", state="fixed", slot=LAST)
    colours = style.colours(["mamba", "mamba+conv=4"])
    assert colours["mamba"] == style.colours(["mamba"])["mamba"] != colours["mamba+conv=4"]


def test_the_state_measured_in_rows_overrides_what_the_file_says() -> None:
    assert state_kind("lstm", [MeasuredState("cell", 8, 64, 0), MeasuredState("cell", 16, 64, 0)]) == "fixed"
    assert state_kind("lstm", [MeasuredState("cell", 8, 64, 32)]) == "grows"
    assert state_kind("lstm", [MeasuredState("cell", 8, 64, None)]) == "fixed"


def test_the_state_at_two_problem_sizes_tells_whether_it_grows_and_at_one_it_tells_nothing() -> None:
    def kind(*rows: tuple[str, int, int]) -> str:
        return state_kind("gone.py", [MeasuredState(*row, None) for row in rows])

    assert kind(("tiny", 8, 64), ("tiny", 16, 128)) == "grows"
    assert kind(("tiny", 8, 64), ("tiny", 16, 64)) == "fixed"
    assert kind(("tiny", 8, 64), ("big", 8, 128)) == ""


def test_known_architectures_come_first_and_unknown_ones_follow_by_name() -> None:
    assert in_order(["z.py", "lstm", "a.py", "transformer"]) == ["transformer", "lstm", "a.py", "z.py"]


def test_unknown_architectures_take_free_colours() -> None:
    colours = style.colours(["lstm", "a.py", "b.py"])
    assert colours["lstm"] == style.colours(["lstm"])["lstm"]
    assert len(set(colours.values())) == 3


def test_describing_an_architecture_needs_no_torch() -> None:
    code = "import sys; from retrieval_gap.about import about; about('mamba'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
