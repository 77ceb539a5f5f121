"""BM25 over a few short texts: rank them by similarity to a query."""

import math
import re
from collections import Counter
from collections.abc import Sequence

K1, B = 1.5, 0.75


def ranked(query: str, texts: Sequence[str], count: int) -> list[int]:
    """The indices of the `count` texts that rank highest for the query, best first; of equal ranks the later one.

    Okapi BM25 with Lucene's inverse document frequency (Robertson and Zaragoza 2009; Kamphuis et al. 2020).  Each step
    ranks other texts, so building an index would not pay.
    """
    words = [_words(text) for text in texts]
    mean = sum(map(len, words)) / len(words) if words else 0.0
    counts = [Counter(each) for each in words]
    scores = [0.0] * len(texts)
    for word in dict.fromkeys(_words(query)):
        holding = sum(word in each for each in counts)
        weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for place, each in enumerate(counts):
            if word in each:
                often = each[word]
                scores[place] += weight * often / (often + K1 * (1 - B + B * len(words[place]) / mean))
    return sorted(range(len(texts)), key=lambda place: (-scores[place], -place))[:count]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
