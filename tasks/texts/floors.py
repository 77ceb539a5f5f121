"""What a reader without word order, or without the text, reaches on a set: the numbers that a head has to be above.

Three floors: the most frequent label; naive Bayes on the set of words (Bernoulli model, add-one smoothing, Manning et
al. 2008, section 13.3); the most frequent label for the first word.  A choice is scored text by text.  Labels or
choices with equal scores share a guess: each counts its share.  For tags: always "O", and each lower-case word's most
frequent tag (of equals the first seen), by span F1.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .api import Example, TextSet
from .spans import span_f1

Floors = dict[str, float]
ROUNDING = 1e-9  # of sums of logarithms: scores that differ by less are equal


def floors(texts: TextSet) -> Floors:
    """The floors by name, each in 0..1: trained on the train split, measured on the test split, in the set's metric."""
    if texts.kind == "tokens":
        return _tag_floors(texts)
    train, test = (_rows(texts, split) for split in (texts.train, texts.test))
    classes = 2 if texts.kind == "choice" else len(texts.labels)
    words = naive_bayes([text for text, _ in train], [label for _, label in train], [text for text, _ in test], classes)
    first = _first_words(train, test, classes)
    return {
        "majority": _majority(texts),
        "bag_of_words": _accuracy(texts, words),
        "first_token": _accuracy(texts, first),
    }


def _rows(texts: TextSet, examples: Sequence[Example]) -> list[tuple[str, int]]:
    """Texts and labels; for a choice each text, labelled 1 if it is the right one."""
    if texts.kind == "choice":
        return [(text, int(place == e.label)) for e in examples for place, text in enumerate(e.texts)]
    return [(example.texts[0], example.label) for example in examples]


def _accuracy(texts: TextSet, scores_RxC: NDArray[np.float64]) -> float:
    if texts.kind == "text":
        of_each = list(scores_RxC)
    else:
        ends = np.cumsum([len(example.texts) for example in texts.test])[:-1]
        of_each = np.split(scores_RxC[:, 1] - scores_RxC[:, 0], ends)
    return float(np.mean([_share(scores, e.label) for scores, e in zip(of_each, texts.test, strict=True)]))


def _share(scores: NDArray[np.float64], label: int) -> float:
    """How often a guess among the best is this label."""
    best = scores >= scores.max() - ROUNDING
    return float(best[label] / best.sum())


def _majority(texts: TextSet) -> float:
    (most, _), *_ = Counter(example.label for example in texts.train).most_common()
    return float(np.mean([example.label == most for example in texts.test]))


def naive_bayes(train: Sequence[str], labels: Sequence[int], test: Sequence[str], classes: int) -> NDArray[np.float64]:
    """Log joint probability of each test text (row) and label (column), from the text's set of lower-case words.

    labels: of the train texts, 0 to classes - 1; one that none of them has gets minus infinity.
    """
    vocabulary = {word: place for place, word in enumerate(sorted({w for text in train for w in text.lower().split()}))}
    seen_CxV, texts_C = np.zeros((classes, len(vocabulary))), np.zeros(classes)
    for text, label in zip(train, labels, strict=True):
        seen_CxV[label, [vocabulary[word] for word in set(text.lower().split())]] += 1
        texts_C[label] += 1
    share_CxV = (seen_CxV + 1) / (texts_C[:, None] + 2)
    absent_CxV = np.log1p(-share_CxV)
    weight_CxV = np.log(share_CxV) - absent_CxV
    with np.errstate(divide="ignore"):
        base_C = np.log(texts_C / texts_C.sum()) + absent_CxV.sum(1)
    known = [sorted({vocabulary[word] for word in text.lower().split() if word in vocabulary}) for text in test]
    return np.array([base_C + weight_CxV[:, places].sum(1) for places in known])


def _first_words(
    train: Sequence[tuple[str, int]], test: Sequence[tuple[str, int]], classes: int
) -> NDArray[np.float64]:
    """How often each label went with the text's first word; if the word is new, over all texts."""
    counts: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(classes))
    for text, label in train:
        counts[text.split()[0].lower()][label] += 1
    overall = np.sum(list(counts.values()), axis=0)
    return np.array([counts.get(text.split()[0].lower(), overall) for text, _ in test])


def _tag_floors(texts: TextSet) -> Floors:
    labels = texts.labels
    seen: dict[str, Counter[int]] = defaultdict(Counter)
    for example in texts.train:
        for word, tag in zip(example.texts[0].split(), example.tags, strict=True):
            seen[word.lower()][tag] += 1
    outside = labels.index("O")
    most = {word: tags.most_common(1)[0][0] for word, tags in seen.items()}
    true = [[labels[tag] for tag in example.tags] for example in texts.test]
    by_word = [[labels[most.get(word.lower(), outside)] for word in example.texts[0].split()] for example in texts.test]
    return {
        "majority": span_f1(true, [["O"] * len(tags) for tags in true]),
        "most_frequent_tag": span_f1(true, by_word),
    }
