"""What each job computes: ``python -m nodexfer.sandbox.demo.program WITNESS`` in its scratch.

It reads ``reference.bin`` and ``own/``, writes ``results/`` (every own input turned back to front, and the checksums),
and leaves a witness of what it saw and wrote in the file WITNESS: outside nodexfer, so that the proof needs no word of
nodexfer's.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator


def walk(top: str) -> Iterator[str]:
    """The files below ``top``, relative to it, sorted."""
    found = [os.path.relpath(os.path.join(where, name), top) for where, _, names in os.walk(top) for name in names]
    yield from sorted(found)


def checksum(path: str) -> str:
    """SHA-256, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1024 * 1024):
            digest.update(block)
    return digest.hexdigest()


def compute(scratch: str) -> dict[str, dict[str, str]]:
    """Write ``results/``; give the checksums of all that was read and of all that was written."""
    inputs = {"reference.bin": checksum(f"{scratch}/reference.bin")}
    for name in walk(f"{scratch}/own"):
        inputs[f"own/{name}"] = checksum(f"{scratch}/own/{name}")
        turn_round(f"{scratch}/own/{name}", f"{scratch}/results/turned/{name}")
    with open(f"{scratch}/results/checksums.json", "w", encoding="utf-8") as file:
        json.dump(inputs, file, indent=1, ensure_ascii=False)
    outputs = {name: checksum(f"{scratch}/results/{name}") for name in walk(f"{scratch}/results")}
    return {"inputs": inputs, "outputs": outputs}


def turn_round(source: str, destination: str) -> None:
    """Back to front: every byte of the result depends on one byte of the input, and on its place."""
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    with open(source, "rb") as old, open(destination, "wb") as new:
        new.write(old.read()[::-1])


def main() -> None:
    witness = sys.argv[1]
    seen = compute(os.environ["NODEXFER_SCRATCH"])
    with open(f"{witness}.part", "w", encoding="utf-8") as file:
        json.dump(seen, file, ensure_ascii=False)
    os.replace(f"{witness}.part", witness)


if __name__ == "__main__":
    main()
