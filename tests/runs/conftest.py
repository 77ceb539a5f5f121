"""The folder of packed runs, the folder of unpacked runs, and the pack between them."""

from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.tar"
