"""Is the endpoint usable, and does it see the directories that we see?

"Connected" is not proof: the service may answer 502 for seconds after it, and a GCP with another /tmp lists another
directory. A file with a random name, seen through the service, is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from nodexfer.clock import Deadline
from nodexfer.errors import EndpointFailed, NodexferError, ServiceRefused, ServiceUnreachable, SourceMissing
from nodexfer.globus.protocol import Globus


def prove(globus: Globus, endpoint: str, exchanges: Iterable[str], deadline: Deadline) -> None:
    """Come back when the service has listed a file just written into each of ``exchanges``.

    Asks every 50 ms at first and every second at last. The files are removed in any case.

    :raises EndpointFailed: not by the deadline; the message says what the service saw last.
    :raises NodexferError: the service refuses in a way that waiting does not mend.
    """
    seconds = deadline.left
    for exchange in exchanges:
        name = f"nonce-{os.urandom(8).hex()}"
        path = f"{exchange}/{name}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            _wait(globus, endpoint, exchange, name, deadline, seconds)
        finally:
            _remove(path)


def _wait(globus: Globus, endpoint: str, exchange: str, name: str, deadline: Deadline, seconds: float) -> None:
    pause = 0.05
    while (seen := _look(globus, endpoint, exchange, name)) is not None:
        if deadline.passed:
            raise EndpointFailed(f"The endpoint {endpoint} did not become ready within {seconds:.0f} s: {seen}")
        time.sleep(min(pause, max(deadline.left, 0.01)))
        pause = min(pause * 1.3, 1.0)


def _look(globus: Globus, endpoint: str, exchange: str, name: str) -> str | None:
    """None when the file is seen, else what was seen, as a sentence."""
    try:
        if any(entry.name == name for entry in globus.ls(endpoint, exchange)):
            return None
    except (EndpointFailed, ServiceUnreachable) as error:
        return str(error)
    except (SourceMissing, ServiceRefused):
        return f"it does not see {exchange}: its /tmp is another one than this job's."
    return f"it sees another {exchange} than this job does: its /tmp is another one."


def sees(globus: Globus, endpoint: str, exchange: str) -> bool:
    """Whether the service can list ``exchange`` now. Doubt counts as yes: only a lost endpoint is no."""
    try:
        globus.ls(endpoint, exchange)
    except EndpointFailed:
        return False
    except NodexferError:
        return True
    return True


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
