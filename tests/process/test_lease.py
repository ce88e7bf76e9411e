"""Leases between processes: never two owners of one endpoint, and no death keeps one for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodexfer.clock import Deadline
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask
from nodexfer.pool.choose import acquire
from tests.unit.pool.support import ME, add_entry, config

ROOT = Path(__file__).parents[2]

#: Takes and gives back; while it owns, it proves that nobody else does, twice: a marker that must not be there (fails
#: at once) and a counter that is read, and later written (fails at the end).
CONTENDER = """
import os, sys, time
from pathlib import Path
from nodexfer.clock import Deadline
from nodexfer.pool import lease as leases
from nodexfer.pool.ask import Ask
from nodexfer.pool.choose import acquire
from tests.unit.pool.support import ME, config
home, place, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
me = ME._replace(place=place, host="host-" + place, boot="boot-" + place)
ask = Ask(lambda endpoint: None, lambda lease: None)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    lease = acquire(config(home), me, Deadline(60), lambda text: None, ask, lambda _: time.sleep(0.002))
    marker = f"{lease.directory}/occupied"
    os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    counter = Path(f"{lease.directory}/counter")
    count = int(counter.read_text())
    leases.renew(lease)
    counter.write_text(str(count + 1))
    os.unlink(marker)
    leases.give_back(lease)
print("done", flush=True)
"""

#: Races for one number only: no fairness, no pauses.
RACER = """
import sys
from nodexfer.pool import lease as leases
from tests.unit.pool.support import ME
directory, place = sys.argv[1:]
me = ME._replace(place=place)
print("ready", flush=True)
sys.stdin.readline()
won = [n for n in range(1, 101) if leases.take(directory, n, me, "id", 300.0) is not None]
print(*won, flush=True)
"""

#: Takes an endpoint and waits to be killed.
OWNER = (
    CONTENDER.split("for _ in range")[0]
    + """
lease = acquire(config(home), me, Deadline(60), lambda text: None, ask)
print("owner", lease.number, flush=True)
sys.stdin.read()
"""
)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def together(children: list[subprocess.Popen[str]]) -> list[str]:
    """Let all begin at once; what each printed after that."""
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        outputs = [child.communicate(timeout=150) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert [child.returncode for child in children] == [0] * len(children), [err for _, err in outputs]
    return [out for out, _ in outputs]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in (1, 2):
        (add_entry(tmp_path, f"node-{number}", number) / "counter").write_text("0")
    return tmp_path


def test_two_endpoints_are_never_had_twice_and_no_turn_is_lost(home: Path) -> None:
    children = [start(CONTENDER, home, f"p{number}", 12) for number in range(6)]
    assert together(children) == ["done\n"] * 6
    pool = home / "pool/default"
    counts = [int((pool / f"node-{number}/counter").read_text()) for number in (1, 2)]
    tops = [leases.top(str(pool / f"node-{number}")) for number in (1, 2)]
    assert sum(counts) == 72
    assert [top.number for top in tops if top] == counts, "every turn has a number of its own, and no number is lost"
    assert list((pool / "waiting").iterdir()) == []


def test_of_all_who_race_for_a_number_one_gets_it(tmp_path: Path) -> None:
    outputs = together([start(RACER, tmp_path, f"p{number}") for number in range(5)])
    won = sorted(int(number) for out in outputs for number in out.split())
    assert len(won) == len(set(won)), "a number was had twice"
    assert won[-1] == 100
    assert leases.numbers(str(tmp_path))[-1] == 100
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".take-")]


def test_the_endpoint_of_a_killed_owner_is_had_again_after_its_silence(tmp_path: Path) -> None:
    add_entry(tmp_path, "node-1")
    settings = config(tmp_path, NODEXFER_LEASE="0.5")
    owner = start(OWNER.replace("config(home)", "config(home, NODEXFER_LEASE='0.5')"), tmp_path, "p1", 1)
    try:
        assert owner.stdout is not None
        assert owner.stdin is not None
        owner.stdout.readline()
        owner.stdin.write("go\n")
        owner.stdin.flush()
        assert owner.stdout.readline() == "owner 1\n"
    finally:
        owner.kill()
        owner.communicate()
    ask = Ask(lambda endpoint: False, lambda lease: None, quiet=0.2)
    began = Deadline(0.5)
    found = acquire(settings, ME, Deadline(20), lambda text: None, ask, lambda _: None)
    assert found.number == 2
    assert began.passed, "it was taken before the whole duration was over"
