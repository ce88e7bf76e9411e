"""The desk: the leader's child that alone speaks to Globus. ``python -m nodexfer.staging.desk``.

    leader: {"do": "fence", "endpoint": E, "lease": N, "seconds": S}      desk: {"fenced": true} | {"error": record} |
                                                                          {"unfenced": true, "error": record}
    leader: {"do": "serve", "endpoint": E, "lease": N, "exchanges": {root: directory}, "seconds": S}
                                                                          desk: {"ready": true} | {"error": record}
    leader: {"do": "pause"}   {"do": "stop"}
    leader: {"do": "ping"}                                                desk: {"pong": true}
    desk, unasked: {"hello": pid, "identity": I} first, or {"error": record} and exit 3
                   {"busy": requests} when that changes    {"lost": code} when the service no longer sees the endpoint,
                   or, as "stalled", once for each task that moves nothing

It ends with the leader: by the end of its stdin, at once, wherever it is; all that the next desk needs is on disk. It
holds desk.lock for life, so that there are never two. SIGUSR2 has it write into its log where each of its threads
stands.
"""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from nodexfer.clock import Deadline
from nodexfer.config import Config, load
from nodexfer.errors import NodexferError, TransferFailed
from nodexfer.globus.protocol import Globus
from nodexfer.node import locks
from nodexfer.node.bell import Bell
from nodexfer.staging import fence, readiness
from nodexfer.staging.calls import Threads
from nodexfer.staging.cases import Serving
from nodexfer.staging.work import Work

#: Exit codes: refused at the start (the error was said), and a fault of our own.
REFUSED, BROKEN = 3, 1
#: Seconds to wait for a dying desk's lock; to fence and to become ready where the leader does not say.
_LOCK_SECONDS, _ORDER_SECONDS = 10.0, 60.0

Message = dict[str, Any]
#: None stands for the bell, and for the answer of a call.
Inbox = queue.SimpleQueue["Message | None"]


def main() -> int:
    """Serve until told to stop; the exit code."""
    faulthandler.register(signal.SIGUSR2)
    try:
        config = load(os.environ)
        locks.take(config.node_paths.desk_lock, _LOCK_SECONDS)
        # Here alone: globus_sdk takes as long to import as all the rest.
        from nodexfer.globus.sdk import connect

        globus = connect(config, os.environ)
        identity = globus.identity()
    except NodexferError as error:
        say({"error": error.as_record()})
        return REFUSED
    bell = Bell(config.node_paths.desk_bell)
    say({"hello": os.getpid(), "identity": identity})
    inbox: Inbox = queue.SimpleQueue()
    for listen in (lambda: _listen(inbox), lambda: _hear(bell, inbox)):
        threading.Thread(target=listen, daemon=True).start()
    Desk(globus, identity, config, inbox).run()
    bell.close()
    return 0


_saying = threading.Lock()


def say(message: Message) -> None:
    """One line to the leader, whole. A leader that is gone is no error: the end of stdin tells."""
    with _saying:
        try:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()
        except OSError:
            pass


def _listen(inbox: Inbox) -> None:
    """The leader's orders. The end of stdin is its death: nothing may go on that the next leader does not know of."""
    for line in sys.stdin:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict):
            inbox.put(message)
    os._exit(0)


def _hear(bell: Bell, inbox: Inbox) -> None:
    while True:
        select.select([bell], [], [])
        bell.heard()
        inbox.put({"do": "look"})


class Desk:
    """Orders in, messages out, and the work in between; one thread, but for the calls to the service."""

    def __init__(
        self, globus: Globus, identity: str, config: Config, inbox: Inbox, say: Callable[[Message], None] = say
    ) -> None:
        self._globus = globus
        self._inbox = inbox
        self._say = say
        self._calls = Threads(lambda: inbox.put(None))
        self._work = Work(globus, identity, config, self._calls, say)
        self._orders: dict[str, Callable[[Message], None]] = {
            "fence": self._fence,
            "serve": self._serve,
            "pause": lambda _: self._work.pause(),
            "ping": lambda _: self._say({"pong": True}),
            "look": lambda _: self._work.wake(),
        }

    def run(self) -> None:
        """Until {"do": "stop"}."""
        while True:
            message = self._next(self._work.step())
            while message is not None:
                if message.get("do") == "stop":
                    return
                order = self._orders.get(str(message.get("do")))
                if order is not None:
                    order(message)
                message = self._next(0.0)

    def _next(self, seconds: float) -> Message | None:
        try:
            return self._inbox.get(timeout=seconds) if seconds > 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _fence(self, order: Message) -> None:
        endpoint, lease = str(order["endpoint"]), int(order["lease"])
        deadline = Deadline(float(order.get("seconds", _ORDER_SECONDS)))
        self._calls.start(
            lambda: fence.fence(self._globus, endpoint, lease, deadline),
            lambda answer: self._say(_fenced(answer)),
        )

    def _serve(self, order: Message) -> None:
        exchanges = {str(root): str(path) for root, path in dict(order["exchanges"]).items()}
        endpoint, lease = str(order["endpoint"]), int(order["lease"])
        deadline = Deadline(float(order.get("seconds", _ORDER_SECONDS)))

        def proven(answer: NodexferError | None) -> None:
            if answer is None:
                self._work.serve(Serving.now(endpoint, lease, exchanges))
            self._say(_answer("ready", answer))

        self._calls.start(lambda: readiness.prove(self._globus, endpoint, exchanges.values(), deadline), proven)


def _fenced(answer: fence.Left | NodexferError | None) -> Message:
    if isinstance(answer, fence.Left):
        return {"unfenced": True, "error": answer.error.as_record()}
    return _answer("fenced", answer)


def _answer(word: str, answer: NodexferError | None) -> Message:
    return {word: True} if answer is None else {"error": answer.as_record()}


def _run() -> None:
    """Threads may sit in a call for half a minute: nobody waits for them."""
    code = BROKEN
    try:
        code = main()
    except Exception as error:  # noqa: BLE001 (the process's top: the leader is told, the log has the rest)
        traceback.print_exc()
        say(
            {
                "error": TransferFailed(
                    f"The desk failed: {type(error).__name__}: {error}.", "nodexfer status"
                ).as_record()
            }
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _run()
