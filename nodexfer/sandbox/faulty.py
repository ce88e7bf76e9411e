"""A collection as the faults let the service see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from nodexfer.sandbox.faults import Faults
from nodexfer.sandbox.storage import Stat, Storage, StorageError


class FaultyStorage:
    """Passes everything to ``inner``, and asks before each operation and each block whether a fault stands in its way.

    :param check: raises :class:`StorageError` when the service does not see the endpoint (offline, wedged, ...).
    """

    def __init__(self, inner: Storage, endpoint: str, faults: Faults, check: Callable[[], None], pace: Pace) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._faults = faults
        self._check = check
        self._pace = pace

    def stat(self, path: str) -> Stat:
        self._ask(path)
        return self._inner.stat(path)

    def ls(self, path: str) -> Sequence[Stat]:
        self._ask(path)
        return self._inner.ls(path)

    def mkdir(self, path: str) -> None:
        self._ask(path)
        self._inner.mkdir(path)

    def rename(self, old: str, new: str) -> None:
        self._ask(old)
        self._ask(new)
        self._inner.rename(old, new)

    def remove(self, path: str) -> None:
        self._ask(path)
        self._inner.remove(path)

    def checksum(self, path: str, algorithm: str) -> str:
        self._ask(path)
        return self._inner.checksum(path, algorithm)

    def read(self, path: str, offset: int) -> Iterator[bytes]:
        self._ask(path)
        for block in self._inner.read(path, offset):
            for piece in self._pace.pieces(block):
                self._check()
                yield piece

    def write(self, path: str, offset: int, blocks: Iterator[bytes], mtime: float | None) -> Iterator[int]:
        self._ask(path)
        corrupt = self._faults.take("corrupt", lambda fault: fault.concerns(self._endpoint)) is not None
        for confirmed in self._inner.write(path, offset, self._paced(blocks, corrupt), mtime):
            self._check()
            yield confirmed

    def _paced(self, blocks: Iterator[bytes], corrupt: bool) -> Iterator[bytes]:
        for block in blocks:
            if corrupt and block:
                block, corrupt = bytes([block[0] ^ 0x5A]) + block[1:], False
            for piece in self._pace.pieces(block):
                self._check()
                yield piece

    def _ask(self, path: str) -> None:
        self._check()
        fault = self._faults.take("fail_path", lambda f: f.concerns(self._endpoint) and _below(path, f.fields["path"]))
        if fault is not None:
            raise StorageError(
                str(fault.fields.get("code", "PERMISSION_DENIED")), f"The sandbox was told to fail {path}."
            )


class Pace:
    """What ``slow`` leaves of one endpoint's rate, shared by all its streams."""

    #: A slow stream is cut into pieces of this many seconds, so that it can be stopped within one of them.
    PIECE_SECONDS = 0.05

    def __init__(self, endpoint: str, faults: Faults) -> None:
        self._endpoint = endpoint
        self._faults = faults
        self._lock = threading.Lock()
        self._free_at = 0.0

    def pieces(self, block: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(block):
            rate = self._rate()
            if rate is None:
                yield block[at:] if at else block
                return
            size = max(1, int(rate * self.PIECE_SECONDS))
            self._wait_for(min(size, len(block) - at) / rate)
            yield block[at : at + size]
            at += size

    def _rate(self) -> float | None:
        fault = self._faults.find("slow", self._endpoint)
        return None if fault is None else max(1.0, float(fault.fields["bytes_per_second"]))

    def _wait_for(self, seconds: float) -> None:
        with self._lock:
            begin = max(time.monotonic(), self._free_at)
            self._free_at = begin + seconds
        while (left := begin + seconds - time.monotonic()) > 0:
            self._faults.wait(left)
            if self._rate() is None:
                with self._lock:
                    self._free_at = 0.0
                return


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")
