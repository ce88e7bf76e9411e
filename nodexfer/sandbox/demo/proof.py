"""The proof, by bytes and without nodexfer's word: site inputs, what the job saw, what it wrote, site outputs."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from nodexfer.sandbox.demo.program import checksum, walk
from nodexfer.sandbox.demo.site import Site


class Proof(NamedTuple):
    """``files`` and ``bytes`` count what was moved, in and out; ``mismatches`` says each file that is not as it was."""

    files_in: int
    files_out: int
    bytes_in: int
    bytes_out: int
    mismatches: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.mismatches and self.files_in > 0 and self.files_out > 0


def prove(site: Site, number: int, witness: str) -> Proof:
    """Compare one job's inputs and outputs, file by file, with what lies at the site now."""
    try:
        with open(witness, encoding="utf-8") as file:
            seen = json.load(file)
    except (FileNotFoundError, ValueError):
        return Proof(0, 0, 0, 0, (f"job {number} left no witness",))
    ins = site.inputs(number)
    wrong = _inputs(site, ins, seen["inputs"])
    results = f"{site.root}/results/{number}"
    there = list(walk(results))
    wrong += _outputs(site, number, there, seen["outputs"])
    return Proof(
        files_in=len(seen["inputs"]),
        files_out=len(there),
        bytes_in=sum(site.files[path] for path in ins.values()),
        bytes_out=sum(os.path.getsize(f"{results}/{name}") for name in there),
        mismatches=tuple(wrong),
    )


def _inputs(site: Site, wanted: dict[str, str], seen: dict[str, str]) -> list[str]:
    """What the job read in its scratch must be what lies at the site: no file less, no file more, no byte else."""
    wrong = [f"{name}: not asked for, and yet in the scratch" for name in seen.keys() - wanted.keys()]
    for name, path in wanted.items():
        if seen.get(name) != checksum(f"{site.root}/{path}"):
            wrong.append(f"{path}: the job saw {'other bytes' if name in seen else 'nothing'}")
    return wrong


def _outputs(site: Site, number: int, there: list[str], seen: dict[str, str]) -> list[str]:
    """What lies at the site must be what the job wrote, and that must be its input back to front."""
    results = f"{site.root}/results/{number}"
    wrong = [f"results/{number}/{name}: nobody wrote this" for name in set(there) - seen.keys()]
    for name, digest in seen.items():
        if name not in there:
            wrong.append(f"results/{number}/{name}: did not arrive")
        elif checksum(f"{results}/{name}") != digest:
            wrong.append(f"results/{number}/{name}: other bytes arrived")
        elif name.startswith("turned/") and not _turned(site, number, name):
            wrong.append(f"results/{number}/{name}: is not its input back to front")
    return wrong


def _turned(site: Site, number: int, name: str) -> bool:
    source = f"{site.root}/runs/{number}/{name.removeprefix('turned/')}"
    with open(source, "rb") as old, open(f"{site.root}/results/{number}/{name}", "rb") as new:
        return old.read() == new.read()[::-1]
