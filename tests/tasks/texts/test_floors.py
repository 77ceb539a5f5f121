"""Naive Bayes agrees with scikit-learn's, and equal scores count as a guess."""

import numpy as np
import pytest

from retrieval_gap.tasks.texts import Example, TextSet, load_texts
from retrieval_gap.tasks.texts.floors import floors, naive_bayes

bayes = pytest.importorskip("sklearn.naive_bayes", reason="scikit-learn comes with the extra `dev`")


def test_naive_bayes_agrees_with_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = load_texts("topic", n=24, samples=80, test_samples=80)
    train, test = ([example.texts[0] for example in split] for split in (texts.train, texts.test))
    labels = [example.label for example in texts.train]
    counted = CountVectorizer(binary=True, token_pattern=r"\S+")
    model = bayes.BernoulliNB(alpha=1.0).fit(counted.fit_transform(train), labels)
    ours = naive_bayes(train, labels, test, len(texts.labels))
    np.testing.assert_allclose(ours, model.predict_joint_log_proba(counted.transform(test)), rtol=1e-9)


def test_choices_of_the_same_words_in_another_order_count_as_a_guess() -> None:
    words = [f"w{i}" for i in range(40)]
    rng = np.random.default_rng(0)

    def example(number: int, label: int) -> Example:
        chosen = rng.permutation(words)[:12]
        texts = tuple(" ".join(rng.permutation(chosen)) for _ in range(3))
        return Example(name=f"e{number}", group=f"e{number}", texts=texts, label=label)

    train, test = ([example(number, number % 3) for number in range(30)] for _ in range(2))
    texts = TextSet(
        name="own", kind="choice", labels=(), splits={"train": tuple(train), "validation": (), "test": tuple(test)}
    )
    assert floors(texts)["bag_of_words"] == pytest.approx(1 / 3, abs=1e-12)


def test_a_label_that_no_training_text_has_is_never_guessed() -> None:
    def split(labels: str) -> tuple[Example, ...]:
        return tuple(
            Example(name=f"{k}", group=f"{k}", texts=(f"word {k}",), label="abc".index(letter))
            for k, letter in enumerate(labels)
        )

    splits = {"train": split("aaab"), "validation": (), "test": split("acc")}
    found = floors(TextSet(name="own", kind="text", labels=("a", "b", "c"), splits=splits))
    assert found == {"majority": 1 / 3, "bag_of_words": 1 / 3, "first_token": 1 / 3}
