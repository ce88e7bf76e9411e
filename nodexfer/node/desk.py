"""The leader's end of the desk: a child process that alone speaks to Globus, and JSON lines between the two.

    leader: {"do": "fence"|"serve"|"pause"|"ping"|"stop", ...}
    desk:   {"hello"|"fenced"|"unfenced"|"ready"|"busy"|"lost"|"pong"|"error": ...}

It ends with us, whatever happens: by the end of its stdin, and by PR_SET_PDEATHSIG. The next one waits for desk.lock,
so there are never two.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from nodexfer import procs
from nodexfer.config import Config
from nodexfer.errors import EndpointFailed, NodexferError, from_record

#: What is run, by our own interpreter.
ARGUMENTS = ("-m", "nodexfer.staging.desk")
LOG_LIMIT_BYTES = 1024 * 1024

Message = dict[str, Any]


class Desk:
    """Made by the thread that leads, and ended by it: the kernel ends the desk with the thread that started it."""

    def __init__(self, config: Config) -> None:
        log = _open_log(f"{config.node_paths.logs}/desk.log")
        environ = {**os.environ, **config.environment(), "NODEXFER_NODE_DIR": config.node_dir}
        try:
            self._process = procs.spawn(
                procs.python(*ARGUMENTS),
                environ=environ,
                stdin=procs.PIPE,
                stdout=procs.PIPE,
                stderr=log,
                # A kill of the job's group then ends the leader first: the lock is free before the desk is torn down.
                new_group=True,
                death_signal=signal.SIGKILL,
                cwd="/",
            )
        finally:
            os.close(log)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._text = b""
        #: False once its stdout has ended.
        self.open = True

    def fileno(self) -> int:
        return self._out

    def say(self, message: Message) -> None:
        """A desk that is gone is not told; its end is seen by :meth:`heard`."""
        try:
            os.write(self._in, json.dumps(message).encode() + b"\n")
        except OSError:
            pass

    def heard(self) -> list[Message]:
        """What it has said, once :meth:`fileno` is readable. What is no JSON object is skipped."""
        data = os.read(self._out, 65536)
        if not data:
            self.open = False
        *lines, self._text = (self._text + data).split(b"\n")
        return [message for message in map(_parse, lines) if message]

    def stop(self, timeout: float = 5.0) -> None:
        """Let it finish what it writes, at most ``timeout`` seconds; then SIGKILL. It is gone afterwards."""
        self.say({"do": "stop"})
        self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(5.0)
        self._process.close()


def error_of(message: Message) -> NodexferError:
    """The error that a message brings."""
    found = message.get("error")
    return from_record(found) if isinstance(found, dict) else EndpointFailed(f"The desk failed: {found}.")


def _parse(line: bytes) -> Message:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _open_log(path: str) -> int:
    try:
        if os.stat(path).st_size > LOG_LIMIT_BYTES:
            os.replace(path, f"{path}.1")
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
