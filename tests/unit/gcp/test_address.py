"""address: the table of the kernel says whether a GCP of this user runs, and nobody is disturbed by the question."""

from __future__ import annotations

import os
import socket

import pytest

from nodexfer.config import load
from nodexfer.gcp import address

HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
REAL = "/org/globusonline/globusconnect"


def line(name: str, inode: int = 4242) -> str:
    return f"{HEAD}ffff8881: 00000002 00000000 00010000 0001 01 {inode} {name}\n"


@pytest.mark.parametrize(
    ("name", "held"),
    [
        (f"@{REAL}/uid=1000", True),
        (f"@{REAL}forward/uid=1000", True),
        (f"@{REAL}/home/me/.globusonline/uid=1000", False),
        (f"@{REAL}/sandbox-7forward/uid=1000", False),
        (f"@{REAL}forward/uid=10001", False),
        (f"@{REAL}forward/uid=100", False),
        (f"{REAL}forward/uid=1000", False),
        ("/tmp/globusconnect_1000.sock", True),
        ("/tmp/globusconnect_10.sock", False),
        ("/run/dbus socket", False),
    ],
)
def test_only_the_address_of_this_user_and_this_prefix_counts(name: str, held: bool) -> None:
    assert address.parse(line(name), REAL, 1000) == (frozenset([4242]) if held else frozenset())


def test_a_real_gcp_is_not_in_the_way_of_a_sandbox() -> None:
    table = line(f"@{REAL}forward/uid=1000") + line("/tmp/globusconnect_1000.sock").removeprefix(HEAD)
    assert address.parse(table, f"{REAL}/sandbox-7", 1000) == frozenset()


def test_sockets_without_a_name_are_passed_over() -> None:
    assert address.parse(HEAD + "ffff8881: 00000002 00000000 00010000 0001 01 7\n", REAL, 0) == frozenset()


def test_the_holder_is_seen_while_it_lives_and_known_by_its_process() -> None:
    config = load({"HOME": "/", "NODEXFER_GCP_ADDRESS": f"{REAL}/test-{os.getpid()}"})
    assert address.holder(config) == "free"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(f"\0{config.gcp_address}forward/uid={os.getuid()}")
        assert address.holder(config) == "in use"
        inodes = address.sockets(config.gcp_address)
        assert address.held_by(inodes, [os.getpid()])
        assert not address.held_by(inodes, [os.getppid(), 2**22 + 1])
    assert address.holder(config) == "free"
