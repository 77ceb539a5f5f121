"""Naive Bayes against scikit-learn's."""

import numpy as np
import pytest

from retrieval_gap.tasks.texts import load_texts
from retrieval_gap.tasks.texts.floors import naive_bayes

bayes = pytest.importorskip("sklearn.naive_bayes", reason="scikit-learn comes with the extra `dev`")


def test_naive_bayes_is_that_of_scikit_learn() -> None:
    from sklearn.feature_extraction.text import CountVectorizer

    texts = load_texts("topic", n=24, samples=80, test_samples=80)
    train, test = ([example.texts[0] for example in split] for split in (texts.train, texts.test))
    labels = [example.label for example in texts.train]
    counted = CountVectorizer(binary=True, token_pattern=r"\S+")
    model = bayes.BernoulliNB(alpha=1.0).fit(counted.fit_transform(train), labels)
    ours = naive_bayes(train, labels, test)
    np.testing.assert_allclose(ours, model.predict_joint_log_proba(counted.transform(test)), rtol=1e-9)
