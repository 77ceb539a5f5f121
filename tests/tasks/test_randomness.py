"""Streams are the same on every machine and uniform; these numbers may change only with a new data format."""

import numpy as np

from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.randomness import SPLITS, below, draw, mix, split_of, start, stream_key


def stream(key: int, index: int, attempt: int) -> np.ndarray:
    rng = np.empty(1, np.uint64)
    start(rng, np.uint64(key), index, attempt)
    return rng


def test_the_generator_is_splitmix64():
    """First outputs for start 0, as the reference implementation (Vigna, splitmix64.c) prints them."""
    rng = np.zeros(1, np.uint64)
    assert [draw(rng) for _ in range(3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_streams_are_pinned():
    key = stream_key("istree", "two_star", TaskConfig(n=16))
    assert key == 1830313496873796344
    rng = stream(int(key), 7, 1)
    assert [below(rng, 1000) for _ in range(8)] == [386, 59, 876, 703, 749, 593, 414, 395]


def test_a_stream_depends_on_key_number_and_attempt():
    starts = {int(stream(key, index, attempt)[0]) for key in range(8) for index in range(8) for attempt in range(8)}
    assert len(starts) == 8**3


def test_the_key_depends_on_everything_but_the_view():
    config = TaskConfig(n=16)
    key = stream_key("istree", "two_star", config)
    assert stream_key("istree", "two_star", TaskConfig(n=16, mode="rag")) == key
    others = [
        stream_key("index", "two_star", config),
        stream_key("istree", "path_like", config),
        stream_key("istree", "two_star", TaskConfig(n=17)),
        stream_key("istree", "two_star", TaskConfig(n=16, seed=1)),
        stream_key("istree", "two_star", TaskConfig(n=16, split="test")),
    ]
    assert len({*others, key}) == 6


def test_bounded_draws_are_uniform():
    rng = stream(1, 2, 3)
    counts = np.bincount([below(rng, 7) for _ in range(70_000)], minlength=7)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001


def test_half_of_all_hashes_train_and_a_quarter_each_validate_and_test():
    owners = [split_of(np.uint64(mix(np.uint64(k)))) for k in range(40_000)]
    shares = np.bincount(owners, minlength=len(SPLITS)) / len(owners)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.01)
