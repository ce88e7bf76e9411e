"""A place with two items to move, the command that moves them, and all that is to be seen of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nodexfer.errors import NodexferError
from nodexfer.staging import intents
from nodexfer.staging.bring import bring
from nodexfer.staging.receipt import Receipt
from nodexfer.staging.receipt import read as read_receipt
from nodexfer.staging.send import send
from tests.crash.lab import Census, End, Lab
from tests.crash.link import linked
from tests.crash.operations import marks
from tests.support.place import ENDPOINT, Place
from tests.support.waiting import eventually

NEW = {"a": b"new a" * 50, "set/one": b"new one", "set/below/two": b"new two" * 30, "set/empty": b""}
OLD = {"a": b"old a", "set/one": b"old one" * 9, "set/kept": b"old"}
#: What a merge makes of the two.
MERGED = {**OLD, **NEW}


class Flow(NamedTuple):
    """``before``: what is at the destination; ``flags``: of the stage; ``after``: what is there at last."""

    direction: str
    flags: Mapping[str, bool]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]


FLOWS = {
    "in": Flow("in", {}, {}, NEW),
    "in, overwrite": Flow("in", {"overwrite": True}, OLD, NEW),
    "in, merge": Flow("in", {"overwrite": True, "merge": True}, OLD, MERGED),
    "out": Flow("out", {}, {}, NEW),
    "out, overwrite": Flow("out", {"overwrite": True}, OLD, NEW),
    "out, merge": Flow("out", {"overwrite": True, "merge": True}, OLD, MERGED),
}


def write(top: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)


def contents(top: Path) -> dict[str, bytes]:
    found = {name: top / name for name in ("a", "set") if (top / name).exists()}
    files = [path for item in found.values() for path in (item, *item.rglob("*")) if path.is_file()]
    return {str(path.relative_to(top)): path.read_bytes() for path in files}


def new_place(top: Path) -> Place:
    top.mkdir()
    return Place(top)


class Scene:
    """A place with two items to move, and everything that is to be seen of it."""

    def __init__(self, place: Place, flow: Flow) -> None:
        self.place = place
        self.flow = flow
        there = self.place.site, self.place.node
        self.source, self.destination = there if flow.direction == "in" else there[::-1]
        write(self.source, NEW)
        write(self.destination, flow.before)
        self.tops = (self.place.node, self.place.top / "home")
        #: Of the desk that serves at last.
        self.lease = 1

    @property
    def pairs(self) -> dict[str, str]:
        if self.flow.direction == "in":
            return {f"site:/{name}": name for name in ("a", "set")}
        return {name: f"site:/{name}" for name in ("a", "set")}

    @property
    def transfers(self) -> int:
        jobs = [job.submission for job in self.place.globus.jobs.values()]
        return sum(job.source_endpoint != job.destination_endpoint for job in jobs)

    def stage(self) -> Receipt:
        """By a command in this process."""
        base, config = str(self.place.node), self.place.config
        if self.flow.direction == "in":
            return bring(
                self.place.client(), intents.fetches(self.pairs, None, config, base=base), **marks(self.flow.flags)
            )
        return send(self.place.client(), intents.sends(self.pairs, None, config, base=base), **marks(self.flow.flags))

    def stage_in_a_child(self, lab: Lab, flags: Mapping[str, bool], die_at: int = 0) -> End:
        return lab.run(
            "bring" if self.flow.direction == "in" else "send",
            die_at=die_at,
            tops=self.tops,
            environ=self.place.environ,
            service=self.place.globus.service,
            base=str(self.place.node),
            pairs=self.pairs,
            flags=dict(flags),
        )

    def serve_in_a_child(self, lab: Lab, over: Path, *, lease: int = 1, die_at: int = 0) -> End:
        """A desk that may die; it is stopped when the file ``over`` is there."""
        with linked(self.place.globus, str(self.place.top / "s")):
            return lab.run(
                "serve",
                die_at=die_at,
                tops=self.tops,
                environ=self.place.environ,
                socket=str(self.place.top / "s"),
                endpoint=ENDPOINT,
                lease=lease,
                exchanges=self.place.exchanges(lease),
                over=str(over),
            )

    # -- what is to be seen ------------------------------------------------------------------------------------------

    def see_no_halves(self) -> None:
        """Whatever is at the destination under its name is the old file or the new one."""
        for name, data in contents(self.destination).items():
            assert data in (NEW.get(name), self.flow.before.get(name)), name

    def see_it_done(self, receipt: Receipt) -> None:
        assert contents(self.destination) == self.flow.after
        assert contents(self.source) == NEW
        assert (receipt.state, receipt.bytes) == ("done", sum(map(len, NEW.values())))
        assert read_receipt(receipt.path) == receipt

    def hidden(self) -> list[str]:
        """What the desk leaves to others: to the next keeper here, and to the leader that gives the lease back."""
        marks = ("/.gone-", "/nonce-", *(f"/exchange/{lease}/" for lease in range(1, self.lease)))
        return [path for path in self.place.leftovers() if any(mark in path for mark in marks)]

    def see_nothing_left(self, lab: Lab) -> None:
        lab.run("keep", environ=self.place.environ, number="2")
        assert self.place.leftovers() == []


class Command:
    """A command in a thread; ``over`` is made when it has ended and nothing is left of its request."""

    def __init__(self, scene: Scene, over: Path) -> None:
        self._scene = scene
        self._over = over
        self._receipt: Receipt | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._receipt = self._scene.stage()
            eventually(lambda: self._scene.place.leftovers() == self._scene.hidden())
        except (NodexferError, AssertionError, OSError) as error:
            self._error = error
        self._over.touch()

    def result(self) -> Receipt:
        self._thread.join(60.0)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise AssertionError(f"{self._error}") from self._error
        assert self._receipt is not None
        return self._receipt


def each_death(census: Census, name: str, die_at: Callable[[int], End]) -> None:
    deaths = 0
    for number in census.numbers():
        if not die_at(number).died:
            break
        deaths += 1
    census.add(name, deaths)


def see_receipts(scene: Scene, end: End) -> None:
    """Never a half one; "done" for what was told, and at most a word of what the dead one was about."""
    found: dict[str, Any] = {}
    for path in (scene.place.top / "home/receipts").rglob("*"):
        assert path.parent.name == ".new" or not path.name.startswith(".tmp-")
        if path.is_file() and not path.name.startswith("."):
            receipt = read_receipt(str(path))
            assert receipt is not None
            found[receipt.id] = receipt.state
    states = sorted(found.values())
    assert states in ([["done"], ["asked", "done"], ["done", "done"]] if end.died else [["done"]])
