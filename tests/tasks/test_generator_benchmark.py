"""The generators' benchmark gives a row for each family or task and view, and the generators win."""

import itertools

from retrieval_gap.benchmarks import generator
from retrieval_gap.tasks import plain
from retrieval_gap.tasks.istree import IsTree
from retrieval_gap.tasks.registry import load_task


def test_every_task_family_and_view_is_measured(monkeypatch):
    monkeypatch.setattr(generator, "_SAMPLES", 256)
    monkeypatch.setattr(generator, "_PLAIN_SAMPLES", 8)
    rows = generator.run(sizes=(16,))
    views = [(name, mode) for name in plain.SAMPLERS for mode in load_task(name).modes]
    assert len(views) == 10 * 2 + 1  # find_path has three
    assert [row["name"] for row in rows] == [
        *(f"istree {family} {mode} n=16" for family, mode in itertools.product(IsTree.families, IsTree.modes)),
        *(f"{name} {mode} n=16" for name, mode in views),
        "mqar direct n=256",
    ]
    for row in rows:
        assert row.keys() == {"name", "ours", "theirs", "ratio", "unit", "against"}
        assert row["ratio"] == row["ours"] / row["theirs"] > 0
    assert rows[-1]["unit"] == "examples/s"
