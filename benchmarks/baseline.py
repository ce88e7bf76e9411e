"""The least that can do it: what our figures are multiples of."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time


class Bare:
    """A native flock, a record written as JSON, a rename: no reading, no checks, nothing that changes it."""

    def __init__(self, path: str, record: object) -> None:
        self._path = path
        self._record = record
        self._temporary = f"{path}.{os.getpid()}"

    def once(self) -> None:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.write(file, json.dumps(self._record, separators=(",", ":")).encode())
            os.close(file)
            os.rename(self._temporary, self._path)
        finally:
            os.close(lock)

    def timed(self) -> float:
        began = time.perf_counter()
        self.once()
        return time.perf_counter() - began


def flock_hand_over(path: str) -> float:
    """Seconds from the SIGKILL of a process that holds a flock to another one, that waits for it, having it."""
    holder, held = _locker(path)
    os.read(held, 8)
    waiter, got = _locker(path)
    _wait_until_blocked(waiter)
    began = time.monotonic_ns()
    os.kill(holder, signal.SIGKILL)
    taken = int.from_bytes(os.read(got, 8), "little")
    os.kill(waiter, signal.SIGKILL)
    for child, pipe in ((holder, held), (waiter, got)):
        os.waitpid(child, 0)
        os.close(pipe)
    return (taken - began) / 1e9


def _locker(path: str) -> tuple[int, int]:
    """A child that takes the lock, writes the time at which it has it, and keeps it. (pid, pipe to read from)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(writer, time.monotonic_ns().to_bytes(8, "little"))
        while True:
            signal.pause()
    os.close(writer)
    return child, reader


def _wait_until_blocked(pid: int) -> None:
    """Until the kernel says that it sleeps (proc(5) stat, field 3), twice in a row: it waits for the lock then."""
    end = time.monotonic() + 5
    asleep = 0
    while asleep < 2:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
        asleep = asleep + 1 if text[text.rindex(b")") + 2 :].startswith(b"S") else 0
        if time.monotonic() > end:
            raise TimeoutError("the waiting process does not wait")
        time.sleep(0.002)
