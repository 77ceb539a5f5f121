"""Architectures can be told apart, by colour-blind readers too."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from retrieval_gap.models import ARCHITECTURES
from retrieval_gap.plots import style

# Machado, Oliveira, Fernandes 2009, table 1, severity 1: linear RGB as such readers see it.
SEEN = {
    "all": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175), (0.0193339, 0.119192, 0.9503041))
WHITE = (0.95047, 1, 1.08883)


def lab(colour: str, seen: Sequence[Sequence[float]]) -> np.ndarray:
    """CIE L*a*b* of a colour as this reader sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = (np.cbrt(part) for part in np.array(RGB_TO_XYZ) @ np.clip(np.array(seen) @ linear, 0.009, 1) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("reader", SEEN)
def test_colours_of_architectures_differ_for_every_reader(reader: str) -> None:
    colours = style.colours(ARCHITECTURES).values()
    assert len(set(colours)) == len(ARCHITECTURES)
    for one, other in combinations(colours, 2):
        difference = np.linalg.norm(lab(one, SEEN[reader]) - lab(other, SEEN[reader]))
        assert difference > 15, (one, other, difference)


def test_no_two_of_many_architectures_share_both_colour_and_mark() -> None:
    many = [*ARCHITECTURES, *(f"zoo/mine{i}.py" for i in range(90))]
    colours, marks = style.colours(many), style.architecture_markers(many)
    assert len({(colours[arch], marks[arch]) for arch in many}) == len(many)


def test_more_architectures_do_not_change_the_looks_of_built_in_ones() -> None:
    many = [*ARCHITECTURES, "zoo/mine.py"]
    assert style.colours(ARCHITECTURES).items() <= style.colours(many).items()
    assert style.architecture_markers(ARCHITECTURES).items() <= style.architecture_markers(many).items()
