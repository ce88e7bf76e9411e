from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.compute_app import App, app_in


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    with app_in(tmp_path) as made:
        yield made
