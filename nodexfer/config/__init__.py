"""What the user set, checked, each value with the place that it comes from."""

from __future__ import annotations

from nodexfer.config.load import load
from nodexfer.config.model import CollectionConfig, Config

__all__ = ["CollectionConfig", "Config", "load"]
