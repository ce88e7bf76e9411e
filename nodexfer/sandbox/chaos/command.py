"""``nodexfer`` as the jobs of a chaos run have it in their PATH, where it moves something: watched from outside.

    python -m nodexfer.sandbox.chaos.command stage-in|stage-out|run ARGUMENTS...

Runs the real command in a process of its own, in the same process group. Writes into the ledger that it has begun, and
how it has ended; and where it says 0, what was said to be moved is compared, byte by byte, at once: a job that is
killed a moment later can not do that any more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence

from nodexfer import procs
from nodexfer.sandbox.chaos import ledger
from nodexfer.sandbox.demo.program import checksum, walk

#: The collection that the jobs' scripts name.
_COLLECTION = "site:"
#: Nobody waits longer for a command than the run as a whole may take; in seconds.
_FOREVER = 3600.0


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    book = ledger.Ledger(environ["CHAOS_LEDGER"])
    book.begin(os.getpid(), environ["NODEXFER_JOB_ID"], argv)
    child = procs.spawn(procs.python("-m", "nodexfer", *argv), stdin=0, stdout=1, stderr=2)
    code = child.wait(_FOREVER)
    wrong = differences(argv, environ) if code == 0 else []
    book.end(os.getpid(), environ["NODEXFER_JOB_ID"], -1 if code is None else code, wrong)
    if code is None:
        return 1
    return code if code >= 0 else 128 - code


def differences(argv: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """What is not at both sides alike, of what the command ``argv`` has said to have moved."""
    site = environ["CHAOS_SITE"]
    # What a run has brought is gone with its scratch: its results tell, each of which is made of one input.
    wrong = _results(site, environ["NUMBER"]) if argv[0] in ("run", "stage-out") else []
    moves = _moves(argv) if argv[0] != "run" else []
    return wrong + [text for source, destination in moves for text in _compare(source, destination, site)]


def _results(site: str, number: str) -> list[str]:
    """Each own input of the job must lie among its results at the site, back to front, and nothing else."""
    own, turned = f"{site}/runs/{number}", f"{site}/results/{number}/turned"
    names, found = set(walk(own)), set(walk(turned))
    wrong = [f"{turned}/{name}: at one side only" for name in sorted(names ^ found)]
    return wrong + [f"{turned}/{name}: other bytes" for name in names & found if not _turned(own, turned, name)]


def _turned(own: str, turned: str, name: str) -> bool:
    with open(f"{own}/{name}", "rb") as old, open(f"{turned}/{name}", "rb") as new:
        return old.read() == new.read()[::-1]


def _moves(argv: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of the two sides, as typed."""
    words = [word for word in argv[1:] if word not in ("--overwrite", "--merge")]
    if words[0] == "--manifest":
        with open(words[1], encoding="utf-8") as file:
            return [_pair(line) for line in file]
    (*sources, destination) = words
    into = destination.endswith("/")
    return [(source, destination + os.path.basename(source) if into else destination) for source in sources]


def _pair(line: str) -> tuple[str, str]:
    """A line of a manifest: JSON, or two columns."""
    if line.startswith("{"):
        record = json.loads(line)
        return record["source"], record["destination"]
    source, destination = line.rstrip("\n").split("\t")
    return source, destination


def _compare(source: str, destination: str, site: str) -> list[str]:
    one, other = (_local(path, site) for path in (source, destination))
    if os.path.isfile(one):
        return [] if os.path.isfile(other) and checksum(one) == checksum(other) else [f"{destination}: is not {source}"]
    names, found = set(walk(one)), set(walk(other))
    wrong = [f"{destination}/{name}: at one side only" for name in names ^ found]
    return wrong + [
        f"{destination}/{name}: other bytes"
        for name in names & found
        if checksum(f"{one}/{name}") != checksum(f"{other}/{name}")
    ]


def _local(path: str, site: str) -> str:
    return f"{site}{path.removeprefix(_COLLECTION)}" if path.startswith(_COLLECTION) else path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
