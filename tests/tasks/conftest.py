"""Fixtures that repeat a test of IsTree for each split, family and view."""

import pytest


@pytest.fixture(params=["train", "validation", "test"])
def split(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["two_star", "random_tree", "path_like"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["direct", "cot", "rag"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param
