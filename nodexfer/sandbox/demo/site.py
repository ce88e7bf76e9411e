"""The site's data: real files, from 0 bytes to 64 MiB, with the names that break scripts."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KIB = 1024
MIB = 1024 * KIB

#: The input that every job takes.
SHARED = "shared/reference.bin"

#: Each job's own inputs, below ``runs/<number>/``: every name has broken somebody's script.
OWN: Mapping[int, Mapping[str, int]] = {
    1: {"empty.dat": 0, "two words.txt": 1, "tab\tand  blanks .csv": 300 * KIB, "100% sure.dat": 3 * MIB},
    2: {"Überströmung β.h5": 2 * MIB, "日本語/結果 1.txt": 4 * KIB, "日本語/結果 2.txt": 64 * KIB + 1},
    3: {"a,b,c.csv": MIB, "[bracket].bin": 2 * MIB - 1, "{brace} (paren).bin": 4095, "*.txt": 17},
    4: {"-leading-dash.dat": 5 * MIB + 13, "--help": 80, 'it\'s "quoted".txt': 4 * KIB, "back\\slash.log": 0},
    5: {"sixty-four mebibytes.raw": 64 * MIB, "#1;2&3.txt": 7, "$HOME.txt": 11, ".hidden": 64 * KIB},
}


class Site(NamedTuple):
    """``root`` is what the collection serves; ``files`` are the paths relative to it, with their sizes in bytes."""

    root: str
    files: Mapping[str, int]

    def inputs(self, number: int) -> dict[str, str]:
        """What job ``number`` takes: the name in its scratch -> the path at the site."""
        top = f"runs/{number}/"
        own = {f"own/{path.removeprefix(top)}": path for path in self.files if path.startswith(top)}
        return {"reference.bin": SHARED, **own}


def make(root: str, seed: int = 20261120, jobs: Mapping[int, Mapping[str, int]] = OWN, shared: int = 8 * MIB) -> Site:
    """Write the site's files below ``root``: about 95 MB, where nothing else is said. The same seed, the same bytes."""
    noise = random.Random(seed)  # noqa: S311 only to have bytes that differ
    files = {SHARED: shared}
    for number, own in jobs.items():
        files.update({f"runs/{number}/{name}": size for name, size in own.items()})
    for path, size in files.items():
        place = f"{root}/{path}"
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            for block in _blocks(noise, size):
                file.write(block)
    return Site(root, files)


def _blocks(noise: random.Random, size: int) -> Iterator[bytes]:
    while size > 0:
        block = noise.randbytes(min(size, MIB))
        size -= len(block)
        yield block
