from __future__ import annotations

from pathlib import Path

import pytest

from nodexfer.staging import work
from tests.support.place import Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Its desk has no bell, and looks into the spool the more often."""
    monkeypatch.setattr(work, "_SCAN_SECONDS", 0.02)
    return Place(tmp_path)
