"""No batch system: a login session, a workstation, a test. The session is the job."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from nodexfer import identity
from nodexfer.scheduler.protocol import End, Job


def detect(environ: Mapping[str, str]) -> Job:
    """``$NODEXFER_JOB_ID``, else the session: its number and the start of its leader, since numbers come again."""
    name = environ.get("NODEXFER_JOB_ID") or _session()
    return Job("local", identity.host(), name, 0)


def end(environ: Mapping[str, str], now: float) -> End | None:
    """``$NODEXFER_END`` (seconds since the epoch), else ``$NODEXFER_TIME`` (seconds from now)."""
    at = _number(environ.get("NODEXFER_END", ""))
    if at is not None:
        return End(at, "NODEXFER_END")
    left = _number(environ.get("NODEXFER_TIME", ""))
    return None if left is None else End(now + left, "NODEXFER_TIME")


def _session() -> str:
    session = os.getsid(0)
    try:
        return f"s{session}-{identity.ProcessId.of(session).start}"
    except ProcessLookupError:  # the leader has ended, or is outside our pid namespace
        return f"s{session}-0"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
