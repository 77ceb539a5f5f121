"""The preset of constructions; its cells are in `experiments/constructions/grid.py`, which needs torch."""

from collections.abc import Sequence

from retrieval_gap.runs.experiment import Experiment


def constructions() -> Sequence[Experiment]:
    from retrieval_gap.experiments.constructions.grid import constructions as cells

    return cells()


PRESETS = {"constructions": constructions}
