"""A bell: a datagram socket that says "look now". What is to be seen is on disk: a bell not heard loses nothing.

The path of a Unix socket has room for 107 bytes (unix(7)), a node_dir may be longer: both sides go by
``/proc/self/fd/<directory>/<name>``.
"""

from __future__ import annotations

import os
import socket

#: What a ring may say. The keeper looks at once, or for a hold within 50 ms (many may come and go together).
WORK = b"w"
HOLD = b"h"
RELEASE = b"r"


class Bell:
    """The listening end. Only who holds the lock that goes with it makes one: what lies at ``path`` is replaced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._socket.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        finally:
            os.close(directory)

    def fileno(self) -> int:
        return self._socket.fileno()

    def heard(self) -> set[bytes]:
        """What was rung since the last look; does not block."""
        words: set[bytes] = set()
        try:
            while True:
                words.add(self._socket.recv(16))
        except BlockingIOError:
            return words

    def close(self) -> None:
        """Take it down. Its name goes only where the lock that goes with it is still held."""
        self._socket.close()
        try:
            os.unlink(self.path)
        except OSError:
            pass


def ring(path: str, word: bytes = WORK) -> bool:
    """Ring the bell at ``path``; False where nobody listens. Neither blocks nor raises: a full one has been rung."""
    try:
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        bell.sendto(word, f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        bell.close()
        os.close(directory)
    return True
