"""One run of chaos: draw the plan, set up places and jobs, let it rage, and prove what is left of it all."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from typing import NamedTuple

from nodexfer import procs
from nodexfer.node import endpoint
from nodexfer.procs import ProgramTimeout
from nodexfer.sandbox.chaos import evidence, ledger, places
from nodexfer.sandbox.chaos.blows import Hand
from nodexfer.sandbox.chaos.disk import Disk
from nodexfer.sandbox.chaos.jobs import ChaosJob
from nodexfer.sandbox.chaos.places import Place
from nodexfer.sandbox.chaos.plan import MIB, Plan
from nodexfer.sandbox.chaos.report import ChaosReport
from nodexfer.sandbox.chaos.storm import Storm
from nodexfer.sandbox.demo import leftovers
from nodexfer.sandbox.demo.narrate import Narrator
from nodexfer.sandbox.demo.offline import Offline, offline
from nodexfer.sandbox.demo.report import Report
from nodexfer.sandbox.demo.run import row, temporary
from nodexfer.sandbox.demo.site import Site, make

#: Bytes per second from and to the site: transfers last long enough to be hit.
_SLOW = 4 * MIB
#: The service is quicker than the real one about what is lost, so that more can be lost in a minute.
_SWITCHES = {"resume_seconds": 0.5, "reconnect_seconds": 1.0, "report_seconds": 1.0}
#: Seconds: what a last keeper may take to give back what a killed leader had, and to end dead jobs' tasks.
_CLEAN_WITHIN = 60.0

_NEXT_JOB = 'eval "$(nodexfer acquire --endpoint)" && nodexfer release'


class _Set(NamedTuple):
    user: Offline
    site: Site
    places: list[Place]
    jobs: list[ChaosJob]
    disk: Disk | None


def play(plan: Plan, narrator: Narrator, *, keep: bool = False) -> ChaosReport:
    """Play ``plan`` once, in a new temporary directory that is removed again (unless ``keep``).

    Of a run that went wrong the evidence is kept: beside the directory, or in it with ``keep``. As root, this process
    gets a mount namespace of its own. Takes what the plan says, and up to 5 min more.
    """
    began = time.monotonic()
    directory = tempfile.mkdtemp(prefix="nodexfer-chaos-", dir=temporary())
    try:
        with narrator, ExitStack() as last:
            report = _play(plan, directory, narrator, last)
        if report.evidence is not None and not keep:
            report = report._replace(evidence=evidence.take_out(report.evidence, temporary(), plan.seed))
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    told = report.told._replace(seconds=time.monotonic() - began, directory=directory if keep else None)
    return report._replace(told=told)


def _play(plan: Plan, directory: str, narrator: Narrator, last: ExitStack) -> ChaosReport:
    narrator.say(f"seed {plan.seed}: {len(plan.jobs)} jobs, {plan.places} places, {plan.pool} endpoints", "bold")
    book = f"{directory}/ledger"
    with offline(directory, endpoints=plan.pool, prefix="chaos", switches=_SWITCHES) as user:
        scene = _set_up(plan, user, book)
        if scene.disk is None:
            narrator.say("no disk is filled: that needs root")
        else:
            last.callback(scene.disk.unmount)
        hand = Hand(user.box, scene.places, scene.jobs, scene.disk)
        user.box.fault("slow", endpoint="site", bytes_per_second=_SLOW)
        storm = Storm(plan, scene.jobs, hand, narrator)
        nodes = [place.stage.node_dir for place in scene.places]
        try:
            storm.rage()
            if storm.problems:  # now, before anybody is killed or gives up
                evidence.gather(directory, nodes, _sessions(scene), narrator.lines)
            narrator.say("all jobs are over; what is left behind?")
            if not leftovers.wait_until_gone(directory, _sessions(scene), _CLEAN_WITHIN):
                evidence.gather(directory, nodes, _sessions(scene), narrator.lines)
            elif orphaned := [place for place in scene.places if endpoint.left_behind(place.paths)]:
                _come_again(orphaned, narrator)
                leftovers.wait_until_gone(directory, _sessions(scene), _CLEAN_WITHIN)
        finally:
            # Also when we are interrupted: the directory goes when nobody works in it any more.
            hand.rest()
            _end(directory, scene)
        leases = leftovers.leases(user.pool())
        gcp = user.box.status()["gcp"]
    files = [file for place in scene.places for file in leftovers.files(place.stage.node_dir, place.stage.site)]
    told = Report(
        jobs=tuple(row(job, scene.site, f"{user.stage.home}/.nodexfer") for job in scene.jobs),
        endpoints_started=int(gcp["started"]),
        endpoints_live_max=max(gcp["live_max"].values(), default=0),
        takeovers=sum(place.watch.take_overs() for place in scene.places),
        takeover=None,
        left_processes=tuple(map(str, leftovers.processes(directory, _sessions(scene)))),
        left_leases=tuple(leases),
        left_files=tuple(dict.fromkeys(files)),
        problems=tuple(storm.problems),
        seconds=0.0,
        directory=None,
    )
    killed = [attempt for job in scene.jobs for attempt in job.killed]
    report = ChaosReport(
        told,
        plan,
        ledger.judge(ledger.read(book), killed),
        len(killed),
        hand.dealt,
        hand.missed,
        scene.disk is not None,
    )
    if report.ok:
        return report
    return report._replace(evidence=evidence.gather(directory, nodes, _sessions(scene), narrator.lines))


def _set_up(plan: Plan, user: Offline, book: str) -> _Set:
    site = make(user.stage.site, seed=plan.seed, jobs={job.number: job.files for job in plan.jobs}, shared=2 * MIB)
    made = places.make(user, plan.nodes, book)
    disk = Disk.mount(made[0].disk)
    jobs = [ChaosJob(job, made[job.place].stage, site, made[job.place].environment) for job in plan.jobs]
    for place in made:
        place.watch.start()
    return _Set(user, site, made, jobs, disk)


def _come_again(orphaned: list[Place], narrator: Narrator) -> None:
    """Where the last keeper of all was killed nobody is left to tidy up: the next job that comes there does."""
    for place in orphaned:
        narrator.say(f"the last keeper at place {place.number} was killed: another job comes there")
        environ = {**place.environment, "NODEXFER_JOB_ID": f"chaos-next-{place.number}"}
        with suppress(ProgramTimeout):  # what is left is seen afterwards
            procs.run(["/bin/sh", "-c", _NEXT_JOB], environ=environ, timeout=_CLEAN_WITHIN)


def _sessions(scene: _Set) -> list[int]:
    return [session for job in scene.jobs for session in job.sessions]


def _end(directory: str, scene: _Set) -> None:
    """Kill what still runs of the jobs, and give the keepers a moment to see it."""
    if any(job.runs for job in scene.jobs):
        for job in scene.jobs:
            job.kill()
        leftovers.wait_until_gone(directory, _sessions(scene), 10.0)
    for place in scene.places:
        place.watch.stop()
