"""Waiting for the server that :mod:`nodexfer.sandbox.launch` has started, and saying why it did not start."""

from __future__ import annotations

import json
import os
import select
from typing import Any

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import NodexferError, ServiceRefused, ServiceUnreachable
from nodexfer.sandbox.layout import Layout


def ready(process: procs.Process, layout: Layout, deadline: Deadline) -> dict[str, Any]:
    """The server's one line. :raises NodexferError: it ended, or was killed when the deadline had passed."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], deadline.left)
        data = os.read(process.stdout.fileno(), 65536) if readable else b""
        if not data:
            process.kill()
            code = process.wait(5.0)
            process.close()
            raise _not_started(code, layout)
        line += data
    process.close()
    return dict(json.loads(line))


def _not_started(code: int | None, layout: Layout) -> NodexferError:
    if code == 3:
        return ServiceRefused(
            f"A sandbox runs in {layout.directory} already.", f"nodexfer sandbox status --dir {layout.directory}"
        )
    with open(layout.log, encoding="utf-8", errors="replace") as file:
        last = file.read()[-2000:].strip().splitlines()[-1:]
    if any("No module named" in text for text in last):
        missing = last[0].partition("No module named")[2].strip(" '()")
        return NodexferError(
            f"The sandbox needs packages that nodexfer itself does not: {missing} is not installed.",
            f"pip install 'nodexfer[{'sandbox,compute' if missing == 'pika' else 'sandbox'}]'",
        )
    return ServiceUnreachable(f"The sandbox did not start: {' '.join(last) or code}", f"cat {layout.log}")
