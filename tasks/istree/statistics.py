"""Print what the families look like, and what degrees alone reveal about the label.

    python -m retrieval_gap.tasks.istree.statistics

Axes: B samples, L positions, N nodes, F features, K kinds of degree multisets.
"""

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from ..api import TRUE, TaskConfig
from . import IsTree
from .traces import NODE_0

Floats = NDArray[np.float64]
_CHUNK = 10_000


def degrees(config: TaskConfig, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Degrees of the nodes of `count` samples, largest first, and their labels: degree_BxN, is_tree_B."""
    task = IsTree(config)
    rows, labels = [], []
    for begin in range(first, first + count, _CHUNK):
        batch = task.sample(np.arange(begin, min(begin + _CHUNK, first + count)))
        ends_BxE = batch.tokens_BxL[:, 1 : 3 * config.n - 2]
        node_BxE = np.concatenate([ends_BxE[:, ::3], ends_BxE[:, 2::3]], axis=1) - NODE_0
        size = len(node_BxE)
        flat = (node_BxE + config.n * np.arange(size)[:, None]).ravel()
        degree_BxN = np.bincount(flat, minlength=size * config.n).reshape(size, config.n)
        rows.append(-np.sort(-degree_BxN, axis=1))
        labels.append(batch.answer_B == TRUE)
    return np.concatenate(rows), np.concatenate(labels)


def total_variation(config: TaskConfig, samples: int) -> float:
    """Total variation between the labels' distributions of the degree multiset: 0 reveals nothing, 1 all.

    Estimated from samples, so it is too large by about sqrt(K / samples).
    """
    degree_BxN, is_tree_B = degrees(config, 0, samples)
    _, kind_B = np.unique(degree_BxN, axis=0, return_inverse=True)
    kinds = int(kind_B.max()) + 1
    tree_K = np.bincount(kind_B[is_tree_B], minlength=kinds) / is_tree_B.sum()
    other_K = np.bincount(kind_B[~is_tree_B], minlength=kinds) / (~is_tree_B).sum()
    return float(np.abs(tree_K - other_K).sum() / 2)


def degree_accuracy(config: TaskConfig, samples: int) -> float:
    """Accuracy on fresh samples of a logistic regression that sees the degree multiset only.

    Features: how many nodes have each degree, the two largest degrees, and the sum of squared degrees.
    """
    trained_BxF, label_B = _features(config, 0, samples)
    tested_BxF, tested_label_B = _features(config, samples, samples)
    mean_F, spread_F = trained_BxF.mean(0), trained_BxF.std(0) + 1e-9
    weight_F = _logistic((trained_BxF - mean_F) / spread_F, label_B)
    guess_B = (tested_BxF - mean_F) / spread_F @ weight_F[1:] + weight_F[0] > 0
    return float((guess_B == tested_label_B).mean())


def _features(config: TaskConfig, first: int, count: int) -> tuple[Floats, NDArray[np.bool_]]:
    degree_BxN, is_tree_B = degrees(config, first, count)
    counts = [(degree_BxN == d).sum(1) for d in range(min(config.n, 9))]
    columns = [*counts, degree_BxN[:, 0], degree_BxN[:, 1], (degree_BxN**2).sum(1)]
    return np.stack(columns, axis=1).astype(np.float64), is_tree_B


def _logistic(x_BxF: Floats, label_B: NDArray[np.bool_]) -> Floats:
    """Weights (bias first) by Newton's method."""
    x_BxF = np.concatenate([np.ones((len(x_BxF), 1)), x_BxF], axis=1)
    weight_F = np.zeros(x_BxF.shape[1])
    for _ in range(8):
        p_B = 1 / (1 + np.exp(-x_BxF @ weight_F))
        slope_F = x_BxF.T @ (label_B - p_B) - weight_F
        curve_FxF = (x_BxF * (p_B * (1 - p_B))[:, None]).T @ x_BxF + np.eye(len(weight_F))
        weight_F += np.linalg.solve(curve_FxF, slope_F)
    return weight_F


def shape(config: TaskConfig, samples: int) -> dict[str, float]:
    """Means: depth of the search in trees; in other graphs, cycle length and share of searches that it stops."""
    task = IsTree(TaskConfig(n=config.n, family=config.family, split=config.split, mode="cot"))
    batch = task.sample(np.arange(samples))
    depth, cycle, stopped = [], [], []
    for b, tokens_L in enumerate(batch.tokens_BxL):
        tour_L = tokens_L[batch.prompt_len_B[b] : batch.length_B[b] - 2]
        if batch.answer_B[b] == TRUE:
            entered_L = np.zeros(len(tour_L), np.int64)
            entered_L[np.unique(tour_L, return_index=True)[1]] = 1
            depth.append(int((2 * entered_L - 1).cumsum().max()) - 1)
        else:
            cycle.append(len(nx.find_cycle(nx.Graph(task.edges(tokens_L)))))
            stopped.append(tour_L[-1] != NODE_0)
    means = {"depth": depth, "cycle": cycle, "stopped": stopped}
    return {name: float(np.mean(values)) for name, values in means.items()}


def main() -> None:
    print("| family | n | total variation |\n|---|---|---|")
    for family in IsTree.families:
        for n in range(4, 9):
            distance = total_variation(TaskConfig(n=n, family=family), 500_000)
            print(f"| {family} | {n} | {distance:.3f} |", flush=True)
    print("\n| family | n | degree accuracy | depth | cycle | stopped |\n|---|---|---|---|---|---|")
    for family in IsTree.families:
        for n in (16, 32, 64, 128):
            config = TaskConfig(n=n, family=family)
            s = shape(config, 2000)
            print(
                f"| {family} | {n} | {degree_accuracy(config, 200_000):.4f} | {s['depth']:.1f}"
                f" | {s['cycle']:.1f} | {s['stopped']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
