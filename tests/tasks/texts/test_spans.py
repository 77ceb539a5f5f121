"""Spans of BIO tags have the F1 of seqeval, and known scores on the NCBI corpus."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval_gap.tasks.texts.spans import Span, count_spans, span_f1, spans
from tests.tasks.texts.coupling_data import public_folder

seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval comes with the extra `dev`")
TAGS = st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"])
SENTENCES = st.lists(
    st.integers(1, 8).flatmap(lambda n: st.tuples(*[st.tuples(TAGS, TAGS)] * n)), min_size=1, max_size=5
)


def test_a_span_begins_at_b_or_after_another_type() -> None:
    assert spans(["I-X", "I-X", "O", "B-X", "B-X", "I-Y"]) == {
        Span("X", 0, 1),
        Span("X", 3, 3),
        Span("X", 4, 4),
        Span("Y", 5, 5),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@given(SENTENCES)
def test_f1_agrees_with_seqeval(sentences: list[tuple[tuple[str, str], ...]]) -> None:
    true, said = ([[pair[side] for pair in sentence] for sentence in sentences] for side in (0, 1))
    assert span_f1(true, said) == pytest.approx(seqeval.f1_score(true, said, zero_division=0))


def test_different_numbers_of_tags_are_refused() -> None:
    with pytest.raises(ValueError, match="2 true tags, 1 predicted"):
        count_spans(["O", "O"], ["O"])


def _sentences(name: str) -> list[list[tuple[str, str]]]:
    blocks = (public_folder() / name).read_text(encoding="utf-8").strip().split("\n\n")
    return [[(line.split("\t")[0], line.split("\t")[1]) for line in block.splitlines()] for block in blocks]


def test_on_ncbi_tagging_nothing_scores_0_and_the_most_frequent_tag_less_than_half() -> None:
    train, test = _sentences("ncbi_disease_train.tsv"), _sentences("ncbi_disease_test.tsv")
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in train:
        for word, tag in sentence:
            seen[word.lower()][tag] += 1
    most = {word: tags.most_common(1)[0][0] for word, tags in seen.items()}
    true = [[tag for _, tag in sentence] for sentence in test]
    assert span_f1(true, [["O"] * len(tags) for tags in true]) == 0
    assert span_f1(true, [[most.get(word.lower(), "O") for word, _ in sentence] for sentence in test]) == pytest.approx(
        0.444, abs=5e-4
    )
