"""With more names than nodes, problems are otherwise the same, and samples without extra names do not change."""

import numpy as np
import pytest

from retrieval_gap.tasks.api import TaskConfig, TaskError
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.istree.traces import NODE_0


def task(n: int, options: str = "", **more: str) -> IsTree:
    return IsTree(TaskConfig(n=n, mode="cot", options=options, **more))  # type: ignore[arg-type]


def names_of(task: IsTree, count: int) -> np.ndarray:
    tokens_BxL = task.sample(np.arange(count)).tokens_BxL
    return np.stack([np.unique(row[row >= NODE_0]) - NODE_0 for row in tokens_BxL])


def test_as_many_names_as_nodes_give_the_same_samples_as_no_option() -> None:
    plain, named = task(9), task(9, "names=9")
    assert named.config == plain.config
    assert plain.config.options == ""
    assert np.array_equal(plain.sample(np.arange(50)).tokens_BxL, named.sample(np.arange(50)).tokens_BxL)


def test_names_are_zero_and_a_uniform_choice_of_the_others() -> None:
    names_BxN = names_of(task(8, "names=20", family="path_like"), 20_000)
    assert names_BxN.shape == (20_000, 8)
    assert (names_BxN[:, 0] == 0).all()
    counts = np.bincount(names_BxN[:, 1:].ravel(), minlength=20)[1:]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 48.6  # chi-square, 18 degrees of freedom, p = 1e-4
    # Two names occur together as often as if seven of nineteen are drawn without replacement.
    both = np.mean((names_BxN == 3).any(1) & (names_BxN == 17).any(1))
    assert both == pytest.approx(7 * 6 / (19 * 18), abs=0.01)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    named = task(10, "names=64", family="path_like")
    whole = named.sample(np.arange(30)).tokens_BxL
    one = named.sample(np.array([17])).tokens_BxL
    assert np.array_equal(whole[17, : one.shape[1]], one[0])


def test_sizes_that_share_their_names_share_their_tokens() -> None:
    assert task(8, "names=16").vocabulary == task(16, "names=16").vocabulary == task(16).vocabulary


def test_splits_share_no_graph_whatever_its_names() -> None:
    """Nodes numbered in the order of their names make a graph that is in one split."""
    seen: dict[str, set[bytes]] = {}
    for split in ("train", "validation", "test"):
        tokens_BxL = task(6, "names=12", split=split, family="path_like").sample(np.arange(2_000)).tokens_BxL
        seen[split] = set()
        for row in tokens_BxL:  # in this family every node has an edge, so that its rank among them is its number
            ends = row[1 : 3 * 5 + 1].reshape(5, 3)[:, [0, 2]]
            _, number = np.unique(ends, return_inverse=True)
            edges = np.sort(np.sort(number.reshape(5, 2), 1).view("i8,i8").ravel())
            seen[split].add(edges.tobytes())
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("names", [7, 1025, -1])
def test_fewer_names_than_nodes_or_too_many_are_refused(names: int) -> None:
    with pytest.raises(TaskError, match=rf"--names {names} is outside 8..1024"):
        task(8, f"names={names}")
