"""relaytool: one outward connection to the relay; it ends when that is lost, and gc.py starts it again."""

from __future__ import annotations

import os
import socket
import sys
import time

from nodexfer.sandbox import wire as wires
from nodexfer.sandbox.standin import children, settings
from nodexfer.sandbox.wire import Wire

#: How long the relay may take to answer, in seconds.
_ANSWER_SECONDS = 30.0


def main(here: str, argv: list[str]) -> int:
    """CONFIGDIR forward|pause"""
    config_dir, mode = argv
    children.die_with_parent()
    known = settings.read(here)
    time.sleep(known.connect_seconds)
    try:
        hello = {
            "secret": settings.secret(config_dir),
            "endpoint": settings.endpoint(config_dir),
            "process": os.environ["GCP_INSTANCE"],
            "user": f"{os.getuid()}@{socket.gethostname()}/{os.stat('/proc/self/ns/net').st_ino}",
            "pid": os.getppid(),
            "paused": mode == "pause",
        }
        connection = wires.connect(known.relay_host, known.relay_port, known.relay_unix, _ANSWER_SECONDS)
        with connection:
            _stay(Wire(connection, _ANSWER_SECONDS), hello, mode)
    except (OSError, KeyError, ValueError) as error:
        print(f"relaytool: {error}", file=sys.stderr)
    return 1


def _stay(wire: Wire, hello: dict[str, object], mode: str) -> None:
    wire.send(wires.message(wires.REQUEST, **hello))
    kind, answer = wire.receive()
    if kind != wires.RESULT:
        raise ConnectionRefusedError(str(answer.get("reason", "the relay refuses")))
    wire.listen_for_ever()
    print(f"RELAYTOOL=1 status={'PAUSED' if mode == 'pause' else 'CONNECTED'}", flush=True)
    while True:
        kind, request = wire.receive()
        if "open" in request and mode != "pause":
            print(f"RELAYTOOL=1 open={request['open']}", flush=True)
