"""What will be done to whom, and when: drawn from the seed alone, so that it can be told, and drawn again."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

KIB = 1024
MIB = 1024 * KIB

#: The longest file of a job, in bytes.
LONGEST = 3 * MIB
#: Seconds between two blows, on average.
PAUSE = 1.1
#: Jobs come in waves, as from an array: what two cores bear at a time.
WAVE = 6
#: Seconds before the first: everything has a moment to begin.
CALM = 1.5

#: How often the last two places are of one node.
_SHARED = 0.4

#: What is done to a process that is found when the time has come -> its share. "job" is a whole process group.
KILLS = {"job": 6, "keeper": 4, "desk": 3, "guard": 3, "gc-ctrl": 2, "launcher": 2, "relaytool": 3, "gridftp": 2}
FREEZES = {"keeper": 3, "desk": 2, "guard": 1, "gc": 2, "job": 2}
#: Faults of the service and of the way to it.
FAULTS = {"disconnect": 5, "wedge": 3, "wedge site": 1, "http": 5, "expire_tokens": 2, "corrupt": 2, "delay_ready": 1}

#: Every name has broken somebody's script.
_NAMES = ("two words.bin", "a,b[c].csv", "Überströmung β.h5", "deep/er/file.raw", "-dash.dat", "100%.txt", "$HOME.txt")


class JobPlan(NamedTuple):
    """``begins``: seconds after the beginning, at the earliest; ``files``: its own inputs, name -> bytes."""

    number: int
    place: int
    form: str
    begins: float
    files: Mapping[str, int]


class Blow(NamedTuple):
    """At ``at`` (seconds), ``act`` is done to ``what`` at ``place``, for ``seconds`` where it can be taken back.

    ``pick`` in [0, 1) chooses among those that are there then.
    """

    at: float
    act: str
    what: str
    place: int
    pick: float
    seconds: float = 0.0
    fields: Mapping[str, Any] = {}


class Plan(NamedTuple):
    """``seconds``: how long blows fall. ``pool``: the number of endpoints, for ``places`` places.

    ``nodes``: of each place its node; two places of one node have one GCP between them, as with a private /tmp.
    """

    seed: int
    seconds: float
    places: int
    pool: int
    nodes: tuple[int, ...]
    jobs: tuple[JobPlan, ...]
    blows: tuple[Blow, ...]

    def as_record(self) -> dict[str, Any]:
        return {
            **self._asdict(),
            "jobs": [job._asdict() for job in self.jobs],
            "blows": [blow._asdict() for blow in self.blows],
        }


def draw(seed: int, jobs: int, seconds: float) -> Plan:
    """The plan of ``seed``. The first place's disk is filled now and then; where that is not to be had, it misses."""
    # Each part has a source of its own: with another number of jobs, the blows are the same.
    noise = random.Random(f"jobs {seed}")  # noqa: S311 to be drawn again, not to be secret
    places = min(jobs, noise.choice((2, 3, 3, 4)))
    pool = max(1, places - noise.choice((0, 1)))
    waves = -(-jobs // WAVE)
    begins = [0.8 * seconds * (number // WAVE) / waves for number in range(jobs)]
    drawn = tuple(_job(number, places, at, noise) for number, at in enumerate(begins, 1))
    nodes = tuple(range(places))
    if places > 2 and random.Random(f"nodes {seed}").random() < _SHARED:  # noqa: S311 to be drawn again
        nodes = (*nodes[:-1], nodes[-2])
    return Plan(seed, seconds, places, pool, nodes, drawn, _blows(seed, seconds, places))


def _job(number: int, places: int, at: float, noise: random.Random) -> JobPlan:
    names = noise.sample(_NAMES, noise.randint(1, 4))
    return JobPlan(
        number=number,
        place=noise.randrange(places),
        form=noise.choice(("run", "steps", "manifest")),
        begins=round(at + noise.uniform(0.0, 2.0), 2),
        files={name: _size(noise) for name in names},
    )


def _size(noise: random.Random) -> int:
    """Of all orders; 0 and 1 as well."""
    return noise.choice((0, 1, noise.randint(2, 64 * KIB), noise.randint(64 * KIB, LONGEST), LONGEST))


def _blows(seed: int, seconds: float, places: int) -> tuple[Blow, ...]:
    noise = random.Random(f"blows {seed}")  # noqa: S311 to be drawn again, not to be secret
    acts = {"kill": 10, "freeze": 4, "fault": 8, "fill": 2}
    found, at = [], CALM
    while at < seconds:
        found.append(_blow(round(at, 2), _one(noise, acts), noise.randrange(places), noise))
        at += noise.uniform(0.2, 2.0) * PAUSE
    return tuple(found)


def _blow(at: float, act: str, place: int, noise: random.Random) -> Blow:
    pick = round(noise.random(), 3)
    if act == "kill":
        return Blow(at, act, _one(noise, KILLS), place, pick)
    if act == "freeze":
        return Blow(at, act, _one(noise, FREEZES), place, pick, round(noise.uniform(0.5, 12.0), 1))
    if act == "fill":
        return Blow(at, act, "disk", 0, pick, round(noise.uniform(1.0, 6.0), 1))
    kind = _one(noise, FAULTS)
    return Blow(at, act, kind, place, pick, round(noise.uniform(0.5, 8.0), 1), _fields(kind, noise))


def _fields(kind: str, noise: random.Random) -> dict[str, Any]:
    if kind == "http":
        found: dict[str, Any] = {"status": noise.choice((429, 500, 503)), "count": noise.randint(1, 12)}
        return {**found, "retry_after": 1} if found["status"] == 429 else found
    if kind == "corrupt":
        return {"count": noise.randint(1, 4)}
    if kind == "delay_ready":
        return {"seconds": round(noise.uniform(0.5, 4.0), 1)}
    return {}


def _one(noise: random.Random, shares: Mapping[str, int]) -> str:
    return noise.choices(list(shares), list(shares.values()))[0]
