"""A bell: a FIFO that says "look now". What is to be seen is on disk: a bell not heard loses nothing.

A FIFO (fifo(7)) rather than a socket: its path may be of any length, ringing is one open and one write of one byte, and
a command that rings imports nothing for it.
"""

from __future__ import annotations

import os

#: What a ring may say, one byte each. The keeper looks at once, or for a hold within 50 ms (many may come together).
WORK = b"w"
HOLD = b"h"
RELEASE = b"r"


class Bell:
    """The listening end. Only who holds the lock that goes with it, or has its directory, makes one: what lies at
    ``path`` is replaced.

    :raises OSError: it can not be made; FileNotFoundError where the directory is gone.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        os.mkfifo(path, 0o600)
        # Both ends, or it would be at its end whenever nobody rings (fifo(7): Linux defines this).
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)

    def fileno(self) -> int:
        return self._descriptor

    def heard(self) -> set[bytes]:
        """What was rung since the last look; does not block."""
        try:
            return {bytes([word]) for word in os.read(self._descriptor, 65536)}
        except BlockingIOError:
            return set()

    def close(self) -> None:
        """Take it down. Its name goes too, since the lock that goes with it is still held."""
        os.close(self._descriptor)
        try:
            os.unlink(self.path)
        except OSError:
            pass


def ring(path: str, word: bytes = WORK) -> bool:
    """Ring the bell at ``path``; False where nobody listens. Neither blocks nor raises: a full one has been rung."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # ENOENT: no bell; ENXIO: nobody has it open
        return False
    try:
        os.write(descriptor, word)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
