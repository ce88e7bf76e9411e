"""``python -m tests.crash.zygote``: runs operations in children of its own, and lets each die where it is told.

    in:   {"operation": name, "arguments": {...}, "environ": {...}, "tops": [...], "die_at": k, "seconds": s}
    out:  {"code": exit code, "points": how many there were, "last": what it died at, "said": what it returned}

It has imported everything and has one thread, so that a child costs milliseconds and inherits no half of a lock.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from typing import Any

# For the children: a module that a child imports costs every child.
import nodexfer.gcp.configdir
import nodexfer.globus.sdk
import nodexfer.node.questions
import nodexfer.node.sweep
import nodexfer.session
import nodexfer.staging.bring
import nodexfer.staging.desk
import nodexfer.staging.send
import nodexfer.staging.via  # noqa: F401
from tests.crash import operations
from tests.crash.points import DEAD, Points

STUCK = -1


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(_one(json.loads(line))), flush=True)


def _one(order: dict[str, Any]) -> dict[str, Any]:
    mine, its = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(mine)
        _run(order, its)
    os.close(its)
    code = _wait(child, order["seconds"])
    with open(mine, "rb") as file:
        words = file.read().decode(errors="surrogateescape").split("\0")
    if code == -signal.SIGKILL:  # by a child of its own, which died as well
        code = DEAD
    if code == 0:
        return {"code": code, "points": int(words[0]), "last": "", "said": json.loads(words[1])}
    return {"code": code, "points": 0, "last": words[0], "said": None}


def _wait(child: int, seconds: float) -> int:
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return STUCK
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(order: dict[str, Any], report: int) -> None:
    """In the child, which ends here whatever happens."""
    try:
        # What it starts gets no end of our pipes.
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (for life)
        os.environ.update(order["environ"])
        points = Points(order["tops"], order["die_at"], report)
        operation = getattr(operations, order["operation"])
        said = operation(points, **order["arguments"])
        os.write(report, f"{points.count}\0{json.dumps(said)}".encode())
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 (the process's top)
        traceback.print_exc()
        sys.stderr.flush()
        os.write(report, f"{type(error).__name__}: {error}".encode())
        os._exit(1)


if __name__ == "__main__":
    main()
