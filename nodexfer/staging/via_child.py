"""The child that asks Globus for a request by the route ``via``: ``python -m nodexfer.staging.via_child <directory>``.

It alone loads globus_sdk. On stdout, a JSON object a line: {"progress": ...}, last {"result": ...} or {"error": ...}.
The end of its stdin is the end of the command: it ends the task then, and removes what is there of the request.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback

import msgspec

from nodexfer.config import load
from nodexfer.errors import Interrupted, NodexferError, TransferFailed
from nodexfer.globus.protocol import Globus
from nodexfer.staging import salvage_record, via_area, via_task
from nodexfer.staging.request import Progress
from nodexfer.staging.via_area import Area, Order
from nodexfer.staging.via_errand import Errand


def main(directory: str) -> int:
    """Carry it; the exit code."""
    # A signal to the whole job is the command's to obey: who dies of it leaves a task that nobody ends.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    alone = threading.Event()
    threading.Thread(target=_listen, args=(alone,), daemon=True).start()
    try:
        config = load(os.environ)
        from nodexfer.globus.sdk import connect

        globus = connect(config, os.environ)
        area = via_area.find(config)
        order = via_area.read(directory)
        if order is None:
            raise TransferFailed(f"{directory} is gone.", "nodexfer status")
        message: dict[str, object] = {"result": _carry(globus, area, directory, order, alone)}
    except NodexferError as error:
        message = {"error": error.as_record()}
    if alone.is_set():  # nobody else will
        via_area.remove(directory)
    _say(message)
    return 0 if "result" in message else 1


def _carry(globus: Globus, area: Area, directory: str, order: Order, alone: threading.Event) -> dict[str, object]:
    def tell(progress: Progress) -> None:
        if alone.is_set():
            raise Interrupted("The command has ended.", "nodexfer status")
        _say({"progress": msgspec.to_builtins(progress)})

    with salvage_record.claimed(directory):
        for path in via_area.dead(area):
            if path != directory:
                _bury(globus, area, path)
        errand = _errand(globus, area, directory, order)._replace(tell=tell)
        try:
            result: dict[str, object] = msgspec.to_builtins(via_task.carry(errand))
        except BaseException:
            _call_off(errand)
            raise
    return result


def _errand(globus: Globus, area: Area, directory: str, order: Order) -> Errand:
    label = f"nodexfer via {order.request.id}"
    return Errand(globus, area.site, order.request, f"{directory}/data", directory, via_area.TASK, label)


def _bury(globus: Globus, area: Area, directory: str) -> None:
    """End the task of a request whose job is dead, and remove it. What can not be done now is done next time."""
    try:
        with salvage_record.claimed(directory) as free:
            order = via_area.read(directory)
            if free and order is not None:
                via_task.call_off(_errand(globus, area, directory, order))
            if free:
                via_area.remove(directory)
    except (NodexferError, OSError):
        return


def _call_off(errand: Errand) -> None:
    """As far as the service lets us: the error at hand says more, and the next one by this route tries again."""
    try:
        via_task.call_off(errand._replace(tell=lambda _: None))
    except NodexferError:
        pass


def _listen(alone: threading.Event) -> None:
    sys.stdin.buffer.read()
    alone.set()


def _say(message: dict[str, object]) -> None:
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except OSError:  # the command has ended: stdin tells
        pass


def _run() -> None:
    code = 1
    try:
        code = main(sys.argv[1])
    except Exception as error:  # noqa: BLE001 (the process's top: the command is told)
        traceback.print_exc()
        words = f"The route via failed: {type(error).__name__}: {error}."
        _say({"error": TransferFailed(words, "nodexfer status").as_record()})
    os._exit(code)


if __name__ == "__main__":
    _run()
