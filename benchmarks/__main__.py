"""Measure, print the table, join build/bench.json; exit 1 where a bar is missed."""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import sys
import time

from benchmarks.figures import Figure, save, table

#: name -> module; each has ``figures() -> list[Figure]`` and can be run alone.
BENCHMARKS = {
    "commands": "benchmarks.commands",
    "holds": "benchmarks.holds",
    "crowd": "benchmarks.crowd",
    "takeover": "benchmarks.takeover",
    "lost": "benchmarks.lost",
    "keeper": "benchmarks.keeper",
    "stagein": "benchmarks.stagein",
    "salvage": "benchmarks.salvage",
    "parsl": "benchmarks.parsl_apps",
    "sandbox": "benchmarks.sandbox_rates",
}

OUTPUT = pathlib.Path(__file__).parents[1] / "build" / "bench.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(BENCHMARKS), help="this one (may be repeated)")
    parser.add_argument("--output", default=str(OUTPUT))
    arguments = parser.parse_args()
    # An installed nodexfer is compiled. A checkout is so after what warms up each benchmark, unless this forbids it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    figures: list[Figure] = []
    failed = 0
    for name in arguments.only or BENCHMARKS:
        began = time.monotonic()
        try:
            found = importlib.import_module(BENCHMARKS[name]).figures()
        except Exception as error:  # noqa: BLE001 one benchmark that can not run must not cost the others
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed += 1
            continue
        figures += found
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(table(figures))
    save(figures, os.path.abspath(arguments.output))
    return 0 if not failed and all(figure.ok for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
