"""Presets: functions that return the cells of a grid, the most telling first."""

from collections.abc import Callable, Sequence

from retrieval_gap.experiments.grids.hotpotqa import hotpotqa_demo, hotpotqa_paper
from retrieval_gap.experiments.grids.istree import ARCHITECTURES, cpu, demo, lr, paper, transfer
from retrieval_gap.experiments.grids.smallest_lstm import smallest_lstm
from retrieval_gap.experiments.grids.theory import theory_cpu, theory_demo
from retrieval_gap.machine.errors import unknown
from retrieval_gap.runs.experiment import Experiment

__all__ = ["ARCHITECTURES", "PRESETS", "paper", "preset_cells"]


def constructions() -> Sequence[Experiment]:
    """See grids/constructions.py, which needs torch."""
    from retrieval_gap.experiments.grids.constructions import constructions as setups

    return setups()


PRESETS: dict[str, Callable[[], Sequence[Experiment]]] = {
    "demo": demo,
    "cpu": cpu,
    "paper": paper,
    "lr": lr,
    "transfer": transfer,
    "theory_demo": theory_demo,
    "theory_cpu": theory_cpu,
    "smallest_lstm": smallest_lstm,
    "constructions": constructions,
    "hotpotqa_demo": hotpotqa_demo,
    "hotpotqa_paper": hotpotqa_paper,
}


def preset_cells(name: str) -> Sequence[Experiment]:
    """Raises UsageError for a name that is no preset."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]()
