"""What tests of every kind share: waiting for something real, and seeing what a test leaves behind."""

from __future__ import annotations

from tests.support.waiting import eventually

__all__ = ["eventually"]
