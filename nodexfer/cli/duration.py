"""A duration as an option's value; of click and the standard library only."""

from __future__ import annotations

from typing import Any

import click


class Duration(click.ParamType):
    """``300``, ``90s``, ``5m``: seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from nodexfer.units import parse_duration  # a file that most commands in a job need not open

        try:
            return value if isinstance(value, float) else parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
