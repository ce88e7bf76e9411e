from __future__ import annotations

import pytest

from nodexfer.sandbox.demo import site


@pytest.fixture
def small_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same names, little data."""
    small = {number: {name: min(size, 5000) for name, size in own.items()} for number, own in site.OWN.items()}
    monkeypatch.setattr(site, "OWN", small)
