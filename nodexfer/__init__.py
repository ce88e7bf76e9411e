"""Brings data by Globus into a compute node's own /tmp, and takes the results out again."""

from __future__ import annotations

__version__ = "0.1.0"
