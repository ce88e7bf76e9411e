"""Dealing blows, and taking back those that can be."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence

from nodexfer import procs
from nodexfer.errors import NodexferError, ServiceRefused
from nodexfer.identity import ProcessId
from nodexfer.node import endpoint
from nodexfer.sandbox.chaos import targets
from nodexfer.sandbox.chaos.disk import Disk
from nodexfer.sandbox.chaos.jobs import ChaosJob
from nodexfer.sandbox.chaos.places import Place
from nodexfer.sandbox.chaos.plan import Blow
from nodexfer.sandbox.launch import Sandbox

#: Faults that are of the endpoint that the place has now.
_OF_THE_ENDPOINT = ("disconnect", "wedge")


class Hand:
    """What deals them. ``dealt`` and ``missed`` count: there may be nobody to hit."""

    def __init__(self, box: Sandbox, places: Sequence[Place], jobs: Sequence[ChaosJob], disk: Disk | None) -> None:
        self.dealt = 0
        self.missed = 0
        self._box = box
        self._places = places
        self._jobs = jobs
        self._disk = disk
        #: (when, seconds from the beginning; what)
        self._undo: list[tuple[float, Callable[[], object]]] = []

    def deal(self, blow: Blow) -> str:
        """Do it; in words, what was done to whom, or '' where nobody was there."""
        acts = {"kill": self._kill, "freeze": self._freeze, "fault": self._fault, "fill": self._fill}
        told = acts[blow.act](blow)
        self.dealt += bool(told)
        self.missed += not told
        return told

    def take_back(self, now: float) -> None:
        """What is due ``now``, seconds from the beginning."""
        due = [undo for at, undo in self._undo if at <= now]
        self._undo = [(at, undo) for at, undo in self._undo if at > now]
        for undo in due:
            undo()

    def rest(self) -> None:
        """Take back everything."""
        self.take_back(float("inf"))
        self._box.clear()

    def _later(self, blow: Blow, undo: Callable[[], object]) -> None:
        self._undo.append((blow.at + blow.seconds, undo))

    def _kill(self, blow: Blow) -> str:
        if blow.what == "job":
            job = self._job(blow)
            if job is None:
                return ""
            job.kill()
            return f"SIGKILL to job {job.number}, all of its group"
        found = targets.find(self._places[blow.place], blow.what, blow.pick)
        if found is None or not procs.signal(found, signal.SIGKILL):
            return ""
        return f"SIGKILL to a {blow.what} at place {blow.place}"

    def _freeze(self, blow: Blow) -> str:
        whole, who = self._whom(blow)
        hit = [process for process in whole if procs.signal(process, signal.SIGSTOP)]
        if not hit:
            return ""
        self._later(blow, lambda: [procs.signal(process, signal.SIGCONT) for process in hit])
        return f"SIGSTOP to {who}, for {blow.seconds:g} s"

    def _whom(self, blow: Blow) -> tuple[list[ProcessId], str]:
        if blow.what == "job":
            job = self._job(blow)
            return ([], "") if job is None else (targets.of_session(job.sessions[-1]), f"job {job.number}, all of it")
        found = targets.find(self._places[blow.place], blow.what, blow.pick)
        return ([] if found is None else [found]), f"a {blow.what} at place {blow.place}"

    def _job(self, blow: Blow) -> ChaosJob | None:
        """One that runs, at whichever place."""
        running = [number for number, job in enumerate(self._jobs) if job.runs]
        return self._jobs[targets.choose(running, blow.pick)] if running else None

    def _fault(self, blow: Blow) -> str:
        fields = dict(blow.fields)
        kind, _, other = blow.what.partition(" ")
        where = other
        if kind in _OF_THE_ENDPOINT and not other:
            where = self._endpoint(blow.place)
            if not where:
                return ""
        if where:
            fields["endpoint"] = where
        if kind == "http":
            fields["prefix"] = "/v0.10"
        fault = self._box.fault(kind, **fields)
        self._later(blow, lambda: self._clear(fault))
        told = "".join(f" {name} {value}" for name, value in fields.items())
        return f"{kind}{told}, for {blow.seconds:g} s"

    def _endpoint(self, place: int) -> str:
        try:
            found = endpoint.read(self._places[place].paths)
        except NodexferError:
            return ""
        return found.endpoint_id or "" if found is not None else ""

    def _clear(self, fault: str) -> None:
        try:
            self._box.clear(fault)
        except ServiceRefused:  # used up
            pass

    def _fill(self, blow: Blow) -> str:
        if self._disk is None:
            return ""
        self._disk.fill()
        self._later(blow, self._disk.free)
        return f"the disk of place {blow.place} is full, for {blow.seconds:g} s"
