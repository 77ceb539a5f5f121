"""Figures are drawn in the project's style, as `draw` applies it."""

from collections.abc import Iterator

import pytest

from retrieval_gap.plots import style


@pytest.fixture
def styled() -> Iterator[None]:
    with style.applied():
        yield
