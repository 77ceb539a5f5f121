"""Labels of generated texts agree with an oracle, words reveal none except in the control, and splits share no text."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.randomness import SPLITS
from retrieval_gap.tasks.texts import generated_sets, load_texts
from retrieval_gap.tasks.texts.floors import floors
from retrieval_gap.tasks.texts.generated import LONGEST, SampleDraws, Written, steps_of
from retrieval_gap.tasks.texts.negation_scope import NegationScope

SETS = generated_sets()
ORDERED = [name for name, texts in SETS.items() if not texts.order_blind]
EXAMPLES = {
    "bracket_depth": ("so ( ( here ( ) ) ) ( ) .", 1),
    "negation_scope": ("the lamp is not on and the radio is on . is the lamp on ?", 1),
    "nth_item": ("so the list is red green blue yellow red blue . what is item three ?", 1),
    "swap_tracking": (
        "so anna has the red ball . ben has the blue ball . carl has the green ball . anna and ben swap . "
        "what does anna have ?",
        1,
    ),
    "topic": ("the old guitar is near the piano . the new song is beside the album .", 3),
    "variable_assignment": ("a = 1 ; b = 2 ; c = 3 ; a = b ; print a", 1),
    "which_came_first": ("so ben came home . anna came home . did anna come home before ben ?", 1),
}


def test_every_set_has_a_worked_example_here() -> None:
    assert set(EXAMPLES) == set(SETS)


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_oracle_answers_the_worked_example(name: str) -> None:
    text, label = EXAMPLES[name]
    assert SETS[name].oracle(text) == label


@pytest.mark.parametrize("name", sorted(SETS))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_oracle_agrees_with_every_text_of_a_family(name: str, data: st.DataObject) -> None:
    texts = SETS[name]
    n = data.draw(st.integers(texts.shortest, LONGEST))
    family = texts(n).family(SampleDraws("test", data.draw(st.integers(0, 10**6)), 0))
    assert [texts.oracle(each.text) for each in family] == list(range(len(texts.labels)))
    assert all(n - 8 < len(each.text.split()) <= n for each in family)


@pytest.mark.parametrize("name", ORDERED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_texts_of_a_family_have_the_same_words_and_begin_and_end_alike(name: str, data: st.DataObject) -> None:
    texts = SETS[name]
    n = data.draw(st.integers(texts.shortest, 128))
    family = texts(n).family(SampleDraws("test", data.draw(st.integers(0, 10**6)), 0))
    assert len({tuple(sorted(Counter(each.text.split()).items())) for each in family}) == 1
    assert len({each.text.split()[0] for each in family}) == 1
    assert len({each.text.split()[-1] for each in family}) == 1
    assert len({each.text for each in family}) == len(texts.labels)


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("n", [32, 64])
def test_a_bag_of_words_is_right_exactly_as_often_as_chance(name: str, n: int) -> None:
    texts = load_texts(name, n=n, samples=240, test_samples=120)
    chance = 1 / len(texts.labels)
    assert floors(texts) == pytest.approx({"majority": chance, "bag_of_words": chance, "first_token": chance})


def test_the_control_can_be_answered_from_its_words() -> None:
    assert floors(load_texts("topic", n=32, samples=400, test_samples=200))["bag_of_words"] > 0.9


@pytest.mark.parametrize("name", sorted(SETS))
def test_an_example_does_not_depend_on_how_many_are_drawn(name: str) -> None:
    task = SETS[name](32)
    assert task.examples("test", 24)[:12] == task.examples("test", 12)


@pytest.mark.parametrize("name", sorted(SETS))
@pytest.mark.parametrize("n", [0, 20, 24, 32])
def test_no_text_is_in_two_splits(name: str, n: int) -> None:
    texts = load_texts(name, n=max(n, SETS[name].shortest), samples=2000, test_samples=500)
    owners: dict[str, set[str]] = {}
    for split in SPLITS:
        for example in texts.splits[split]:
            owners.setdefault(example.texts[0], set()).add(split)
    assert all(len(splits) == 1 for splits in owners.values())


@pytest.mark.parametrize("name", ["bracket_depth", "nth_item"])
@settings(max_examples=25, deadline=None)
@given(n=st.integers(16, 128), index=st.integers(0, 10**6))
def test_each_text_of_a_family_tells_what_decides_its_split(name: str, n: int, index: int) -> None:
    texts = SETS[name]
    family = texts(n).family(SampleDraws("test", index, 0))
    common = texts.common(family)
    assert {texts.common([each]) for each in family} == {common}
    assert sorted(word for word in family[0].text.split() if word != "here") == sorted(common.split())


class OneFamily(NegationScope):
    """A set whose families are all the same."""

    def family(self, draws: SampleDraws) -> list[Written]:
        return super().family(SampleDraws("one", 0, 0))


def test_a_split_that_owns_no_text_is_an_error() -> None:
    with pytest.raises(TaskError, match="too few different texts of 16 words") as told:
        OneFamily(16).text_set(20, 20)
    assert "\n" not in str(told.value)


def test_another_seed_draws_other_texts() -> None:
    one, other = (SETS["nth_item"](32, seed).examples("train", 40) for seed in (0, 1))
    assert {each.texts for each in one}.isdisjoint({each.texts for each in other})


def test_the_recorded_place_of_the_deciding_sentence_is_right() -> None:
    for example in SETS["negation_scope"](512).examples("test", 60):
        before = example.texts[0].partition(" is not on")[0].count(" . ")
        fillers = example.texts[0].count(" .") - 1
        assert example.place == pytest.approx(before / fillers)


@pytest.mark.parametrize(("n", "steps"), [(18, 1), (63, 1), (64, 2), (128, 3), (512, 5)])
def test_longer_texts_take_more_steps(n: int, steps: int) -> None:
    assert steps_of(n) == steps


@pytest.mark.parametrize(
    ("name", "n", "samples", "said"),
    [
        ("swap_tracking", 28, 10, "outside 29..512"),
        ("nth_item", 513, 10, "outside 16..512"),
        ("nth_item", 64, 3, "fewer than the 4 of a family"),
        ("swap_traking", 64, 10, "did you mean 'swap_tracking'"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(name: str, n: int, samples: int, said: str) -> None:
    with pytest.raises(TaskError, match=said) as told:
        load_texts(name, n=n, samples=samples)
    assert "\n" not in str(told.value)
