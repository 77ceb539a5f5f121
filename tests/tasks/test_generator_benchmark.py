"""The generator's benchmark gives a row for each family and view, and the generator wins."""

import itertools

from benchmarks import generator
from tasks.istree import IsTree


def test_every_family_and_view_is_measured(monkeypatch):
    monkeypatch.setattr(generator, "_SAMPLES", 256)
    monkeypatch.setattr(generator, "_PLAIN_SAMPLES", 8)
    rows = generator.run(sizes=(16,))
    assert [row["name"] for row in rows] == [
        f"istree {family} {mode} n=16" for family, mode in itertools.product(IsTree.families, IsTree.modes)
    ]
    for row in rows:
        assert row.keys() == {"name", "ours", "theirs", "ratio", "unit", "against"}
        assert row["ratio"] == row["ours"] / row["theirs"] > 1
