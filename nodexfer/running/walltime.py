"""What is done with the time that a job has: numbers in, a decision and its words out. Nothing here looks or waits.

    |---- stage-in ----|-------- program --------|TERM..KILL|-- stage-out --|- salvage -|spare|
                                                 '----------------- reserve ------------------' end of the job

All times are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nodexfer.units import format_bytes, format_duration, format_rate

#: The policies of an output, and what became of the program.
POLICIES = ("success", "always", "failure")
SUCCESS, FAILURE, STOPPED = "success", "failure", "stopped"

#: What is assumed of a transfer until one was seen: bytes a second, seconds beyond the bytes, seconds for each file.
ASSUMED_RATE = 50.0 * 1024 * 1024
START_SECONDS = 10.0
FILE_SECONDS = 0.01
#: So many bytes give a rate; fewer only tell what a transfer takes beyond its bytes, up to the seconds after it.
MEASURABLE_BYTES = 64 * 1024 * 1024
_LONGEST_START = 60.0

#: A copy to the shared file system, read again for its checksum.
SALVAGE_RATE = 200.0 * 1024 * 1024
_SALVAGE_START, _SALVAGE_FILE = 1.0, 0.002

#: Of a reserve that nobody named: the least; how often what a transfer needs; the most of the job's time.
LEAST_RESERVE = 30.0
_MARGIN = 1.25
_LARGEST_SHARE, _LARGEST_SHARE_OF_A_SHORT_JOB = 0.2, 0.5

#: A program is given a fourth of the reserve between TERM and KILL, at most this.
_GRACE_SHARE, LONGEST_GRACE = 0.25, 60.0
#: What is left at the very end, and for a transfer that is called off.
LONGEST_SPARE = 5.0
#: The longest time between two looks at outputs that grow.
LONGEST_LOOK = 60.0


class Load(NamedTuple):
    """How much is to be moved."""

    bytes: int = 0
    files: int = 0


class Pace(NamedTuple):
    """How fast Globus is from here."""

    rate: float = ASSUMED_RATE
    measured: bool = False
    start: float = START_SECONDS

    def needed(self, load: Load) -> float:
        return self.start + load.bytes / self.rate + load.files * FILE_SECONDS

    @property
    def words(self) -> str:
        rate = format_rate(self.rate)
        return f"at the {rate} measured" if self.measured else f"at {rate}, which is assumed"


class Plan(NamedTuple):
    """Which outputs go by Globus and which are saved on the shared file system, by their numbers; and why."""

    send: tuple[int, ...]
    save: tuple[int, ...]
    words: str


def total(loads: Sequence[Load]) -> Load:
    return Load(sum(load.bytes for load in loads), sum(load.files for load in loads))


def pace(moved: int, seconds: float, waited: float) -> Pace:
    """From a transfer of ``moved`` bytes in ``seconds``, of which it ``waited`` for an endpoint."""
    moving = max(seconds - waited, 0.001)
    if moved >= MEASURABLE_BYTES:
        return Pace(moved / moving, True)
    return Pace(start=min(max(seconds, 1.0), _LONGEST_START))


def wanted(policy: str, outcome: str) -> bool:
    """Whether an output is to be kept. A program that was stopped for time did not fail: all there is is kept."""
    return policy == "always" or outcome in (STOPPED, policy)


def salvage_seconds(load: Load) -> float:
    return _SALVAGE_START + load.bytes / SALVAGE_RATE + load.files * _SALVAGE_FILE


def reserve(load: Load, pace: Pace, time: float) -> float:
    """How long before the end the program is stopped, where nobody said: enough to send ``load``.

    :param time: from the beginning of ``run`` to the end of the job. Of this, a fifth is the most, or a half where a
        fifth is less than 30 s: what does not fit is saved on the shared file system, which is quicker.
    """
    needed = _MARGIN * pace.needed(load) + salvage_seconds(load) + 3 * LONGEST_SPARE
    needed = min(needed / (1 - _GRACE_SHARE), needed + LONGEST_GRACE)
    most = max(LEAST_RESERVE, _LARGEST_SHARE * time)
    return min(max(LEAST_RESERVE, min(needed, most)), _LARGEST_SHARE_OF_A_SHORT_JOB * max(time, 0.0))


def grace(reserve: float) -> float:
    """From TERM to KILL."""
    return min(LONGEST_GRACE, reserve * _GRACE_SHARE)


def spare(reserve: float) -> float:
    """What is left at the very end; also what the desk gets to take a transfer back."""
    return min(LONGEST_SPARE, reserve / 8)


def window(left: float, reserve: float, load: Load) -> float:
    """How long a stage-out may take when the job has ``left``: then it is called off, and ``load`` saved."""
    return max(0.0, left - 3 * spare(reserve) - salvage_seconds(load))


def look_after(stop_in: float, cost: float) -> float:
    """When to look at the outputs again, if one look costs ``cost``: a fourth of the way, a twentieth of the work."""
    return max(0.0, min(max(stop_in / 4, 20 * cost, 0.05), LONGEST_LOOK, stop_in))


def plan(loads: Sequence[Load], pace: Pace, window: float) -> Plan:
    """What is done with the outputs when ``window`` is left for Globus.

    By a rate that is only assumed, all is tried: what has not gone by the end of the window is saved then.
    """
    whole, everything = total(loads), tuple(range(len(loads)))
    needed = pace.needed(whole)
    why = f"{_amount(whole)} {_need(whole)} {format_duration(needed)} {pace.words}, {format_duration(window)} left"
    if needed <= window:
        return Plan(everything, (), f"{why}: all is sent")
    if window <= 0:
        return Plan((), everything, f"{why}: all is saved on the shared file system")
    if not pace.measured:
        return Plan(everything, (), f"{why}: it is tried, and what has not gone by then is saved")
    send = _first_fit(loads, pace, window)
    save = tuple(number for number in everything if number not in send)
    if not send:
        return Plan((), save, f"{why}: all is saved on the shared file system")
    return Plan(send, save, f"{why}: {len(send)} of {len(loads)} outputs are sent, the others saved")


def _first_fit(loads: Sequence[Load], pace: Pace, window: float) -> tuple[int, ...]:
    """In the order in which they were named."""
    chosen: list[int] = []
    for number, load in enumerate(loads):
        if pace.needed(total([loads[other] for other in chosen] + [load])) <= window:
            chosen.append(number)
    return tuple(chosen)


def bring_words(load: Load | None, pace: Pace, left: float, *, least: bool = False) -> str:
    """Whether a stage-in fits. It goes on in any case: nothing else could be done with the time.

    :param load: None where nobody knows yet: a directory is among its sources.
    :param least: there may be more: not all of its directories were looked into.
    """
    if load is None:
        return f"how much is in a directory is not known before, {format_duration(left)} left: it is called off then"
    needed = pace.needed(load)
    words = f"{_amount(load)} {_need(load)} {format_duration(needed)} {pace.words}, {format_duration(left)} left"
    if least:
        return f"at least {words}: it is called off then"
    return f"{words}: it fits" if needed <= left else f"{words}: it may not fit, and is called off then"


def _amount(load: Load) -> str:
    if load.files == 0:
        return format_bytes(load.bytes)
    return f"{format_bytes(load.bytes)} in {load.files} file{'' if load.files == 1 else 's'}"


def _need(load: Load) -> str:
    return "needs" if load.files <= 1 else "need"
