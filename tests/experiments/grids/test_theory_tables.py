"""No committed measurement contradicts a bound.

A point may lie above its ceiling by chance.  Each interval is widened so that, with a probability of 5 % or less, any
point of a table does (Bonferroni: a level of 5 % over the number of points); a point that is still above its ceiling
is a fault of the bound, of the task or of the probe.
"""

import csv
import math
from pathlib import Path
from statistics import NormalDist

import pytest

from retrieval_gap.experiments.grids import preset_cells
from retrieval_gap.plots.probes import least_bits, read_probes
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.bounds import bound_of

RESULTS = Path(__file__).parents[3] / "results"
TABLES = sorted(RESULTS.glob("theory_*_probe.csv"))


def lower_end(share: float, samples: int, points: int) -> float:
    """The lower end of a share's one-sided score interval (Wilson 1927), at a level of 5 % over all points together."""
    z = NormalDist().inv_cdf(1 - 0.05 / points)
    centre, half = share + z**2 / (2 * samples), z * math.sqrt(share * (1 - share) / samples + (z / (2 * samples)) ** 2)
    return (centre - half) / (1 + z**2 / samples)


def test_the_lower_end_is_wilsons_and_falls_with_the_number_of_points() -> None:
    p, n, points = 0.5, 1_000, 100
    low = lower_end(p, n, points)
    z = (p - low) / math.sqrt(low * (1 - low) / n)  # the share that a test at this level just does not reject
    assert NormalDist().cdf(-z) == pytest.approx(0.05 / points)
    assert lower_end(p, n, 10 * points) < low < lower_end(p, n, 1)


def test_there_are_committed_probes() -> None:
    assert RESULTS / "theory_demo_probe.csv" in TABLES


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_no_point_is_above_its_ceiling(path: Path) -> None:
    table = read_probes(path)
    ceilings = {}
    for row in table.rows:
        key = (row.task, row.n, row.state_bits)
        if key not in ceilings:
            (same_task,) = [part for part in table.by_task() if part.rows[0].task == row.task]
            ceilings[key] = float(same_task.bound(row.n).ceiling(row.state_bits))
        low = lower_end(row.accuracy, row.eval_samples, len(table.rows))
        assert low <= ceilings[key], row


def test_no_model_that_searches_writes_more_traces_than_its_bound() -> None:
    with (RESULTS / "theory_bits_cpu.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mode"] == "rag"]
    bounds = []
    for row in rows:
        task = load_task(row["task"])(TaskConfig(n=int(row["n"]), mode="rag", options=row["options"]))
        bounds.append(float(bound_of(task).exact_search(int(row["state_bits"]))))
        assert lower_end(float(row["exact_trace"]), int(row["eval_samples"]), len(rows)) <= bounds[-1], row
    assert min(bounds) == 0.5


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_some_points_above_chance_have_a_ceiling_below_one(path: Path) -> None:
    with path.open(newline="") as file:
        below = [row for row in csv.DictReader(file) if float(row["ceiling"]) < 1]
    assert below
    assert any(float(row["accuracy_strict"]) > least_of(row) for row in below)


def least_of(row: dict[str, str]) -> float:
    """An accuracy 10 % above chance, which is one over the number of values."""
    return 1.1 / int(row["options"].partition("values=")[2])


@pytest.mark.parametrize(
    ("preset", "tables"),
    [
        ("theory_demo", ("theory_demo", "theory_demo_probe")),
        ("theory_bits_cpu", ("theory_bits_cpu", "theory_bits_cpu_probe")),
    ],
)
def test_the_committed_rows_are_of_the_presets_cells(preset: str, tables: tuple[str, ...]) -> None:
    hashes = {config.hash() for config in preset_cells(preset)}
    for name in tables:
        with (RESULTS / f"{name}.csv").open(newline="") as file:
            committed = {row["config_hash"] for row in csv.DictReader(file)}
        assert committed
        assert committed <= hashes


def test_a_model_never_uses_fewer_bits_than_its_accuracy_needs() -> None:
    table = read_probes(RESULTS / "theory_demo_probe.csv")
    measured = [row for row in table.rows if row.bits is None and row.bits_used_high is not None]
    assert measured
    for row in measured:
        low = lower_end(0.99 * row.accuracy, row.eval_samples, len(table.rows))
        assert row.bits_used_high >= least_bits(table.bound(row.n), low), row


def test_rows_of_bit_states_name_their_bits_and_only_searches_take_them_above_their_ceilings() -> None:
    with (RESULTS / "theory_bits_cpu.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    above = set()
    for row in rows:
        assert f"bits={row['state_bits']}" in row["size"].split("+")
        task = load_task(row["task"])(TaskConfig(n=int(row["n"]), options=row["options"]))
        low = lower_end(float(row["accuracy_strict"]), int(row["eval_samples"]), len(rows))
        if low > float(bound_of(task).ceiling(int(row["state_bits"]))):
            above.add(row["mode"])
    assert above == {"rag"}
