"""How things are measured here: interleaved, so that a machine that slows down slows both sides."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")


def interleaved(rounds: int, what: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run each of ``what`` once per round, in turn; what each of them gives (seconds) by name.

    One round before the first is thrown away: it fills caches.
    """
    found: dict[str, list[float]] = {name: [] for name in what}
    for number in range(rounds + 1):
        for name, take in what.items():
            value = take()
            if number:
                found[name].append(value)
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in found.items()}


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest-rank quantile: a value that was measured, never one between two."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def command(argv: Sequence[str], environ: Mapping[str, str]) -> float:
    """Seconds that a whole process takes, from its start to its end.

    :raises RuntimeError: it did not end with 0; a figure of a command that fails is worth nothing.
    """
    return command_output(argv, environ)[0]


def command_output(argv: Sequence[str], environ: Mapping[str, str]) -> tuple[float, str]:
    """As :func:`command`, with what it printed on stdout."""
    began = time.perf_counter()
    done = subprocess.run(argv, env=dict(environ), capture_output=True, text=True, check=False, timeout=120)
    taken = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return taken, done.stdout


def files_opened(argv: Sequence[str], environ: Mapping[str, str], scratch: str) -> tuple[int, str]:
    """(how many files the process opened with success, how they were counted). What it starts is not counted.

    With strace(1) every open is seen, those of the dynamic loader included. Without, Python's own audit events are
    counted (sys.addaudithook, "open"): modules and files, no shared libraries, attempts that fail included.
    """
    if shutil.which("strace"):
        trace = f"{scratch}/trace.{os.getpid()}"
        command(["strace", "-qq", "-e", "trace=open,openat,openat2", "-o", trace, *argv], environ)
        with open(trace, encoding="utf-8", errors="replace") as file:
            count = sum(1 for line in file if line.startswith("open") and " = -1 " not in line)
        os.unlink(trace)
        return count, "strace"
    return len(_audited(argv, environ)["opened"]), "audit events, shared libraries not counted"


def modules_imported(argv: Sequence[str], environ: Mapping[str, str]) -> set[str]:
    """The top-level modules that a ``python -m MODULE ...`` command has imported at its end."""
    return set(_audited(argv, environ)["modules"])


_AUDIT = """
import atexit, json, os, runpy, sys
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
def tell(before=len(opened)):
    modules = sorted({name.partition(".")[0] for name in set(sys.modules) - known})
    os.write(int(os.environ["AUDIT_FD"]), json.dumps({"opened": opened, "modules": modules}).encode())
atexit.register(tell)
known = set(sys.modules)
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def _audited(argv: Sequence[str], environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Run ``[python, "-m", MODULE, ...]`` with Python's audit events on."""
    if list(argv[:2]) != [sys.executable, "-m"]:
        raise ValueError("only python -m can be looked into")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with open(reader, encoding="utf-8") as told:
        try:
            subprocess.run(
                [sys.executable, "-c", _AUDIT, *argv[2:]],
                env={**environ, "AUDIT_FD": str(writer)},
                pass_fds=(writer,),
                check=True,
                capture_output=True,
                timeout=60,
            )
        finally:
            os.close(writer)
        found = json.loads(told.read())
    return {"opened": found["opened"], "modules": found["modules"]}


def foreign(modules: set[str]) -> set[str]:
    """What of ``modules`` is neither the standard library's, nor click, nor ours."""
    return {
        name
        for name in modules
        if name not in sys.stdlib_module_names and name not in ("click", "nodexfer") and not name.startswith("__")
    }


def wait_for(what: Callable[[], bool], seconds: float, say: str) -> None:
    """Poll until ``what`` holds. :raises TimeoutError: it did not in time; ``say`` tells what."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"{say}: not within {seconds:g} s")
        time.sleep(0.002)
