"""The default learning rates follow from the committed sweep, by the rule of docs/training.md."""

from collections import defaultdict
from statistics import fmean

from retrieval_gap.experiments.grids.defaults import PROBLEMS, RATES, defaults
from retrieval_gap.experiments.trained.defaults import SMALL_LR, small_settings
from retrieval_gap.models import ARCHITECTURES
from retrieval_gap.tables.rows import RESULTS, read_table

TABLE = RESULTS / "defaults.csv"
NEAR = 0.05


def means() -> dict[str, dict[float, float]]:
    """Mean accuracy over the tasks, by architecture and rate, for architectures whose sweep is complete."""
    told: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for _, row in read_table(TABLE):
        told[row["arch"]][row["lr"]].append(row["accuracy"])
    whole = {arch: rates for arch, rates in told.items() if sum(map(len, rates.values())) == len(PROBLEMS) * len(RATES)}
    return {arch: {rate: fmean(accuracies) for rate, accuracies in rates.items()} for arch, rates in whole.items()}


def test_the_default_is_the_only_rate_near_the_best_for_every_architecture() -> None:
    swept = means()
    assert set(swept) == set(ARCHITECTURES)
    near = [rate for rate in RATES if all(rates[rate] >= max(rates.values()) - NEAR for rates in swept.values())]
    assert near == [SMALL_LR]
    assert all(small_settings({"arch": arch, "size": "tiny"})["lr"] == SMALL_LR for arch in ARCHITECTURES)


def test_the_rows_are_those_of_the_preset() -> None:
    assert {row["config_hash"] for _, row in read_table(TABLE)} <= {cell.hash() for cell in defaults()}
