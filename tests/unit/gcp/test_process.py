"""process: the command line of GCP, and its last words turned into an error."""

from __future__ import annotations

import pytest

from nodexfer.config import load
from nodexfer.errors import EndpointFailed, ForeignGcp, GcpMissing, NodexferError, PoolEntryBroken
from nodexfer.gcp import environment, process
from nodexfer.gcp.install import Program

GCP = Program("/opt/gcp/globusconnectpersonal", "/opt/gcp")


def test_the_command_names_the_exchanges_and_nothing_else() -> None:
    config = load({"HOME": "/home/u", "NODEXFER_GCP_PREFIX": "proxychains4 -q"})
    assert process.command(config, GCP, "/tmp/n/gcp-x", ["/tmp/n/exchange/7", "/local/n/exchange/7"]) == [
        "proxychains4", "-q", GCP.path, "-start", "-dir", "/tmp/n/gcp-x",
        "-restrict-paths", "rw/tmp/n/exchange/7,rw/local/n/exchange/7",
    ]  # fmt: skip


def test_the_environment_is_clean_but_for_what_was_asked_to_stay() -> None:
    job = {"HOME": "/home/u", "USER": "u", "PATH": "/conda/bin", "LD_PRELOAD": "x", "http_proxy": "p", "TMPDIR": "/t"}
    assert environment.clean(job, ["http_proxy", "absent"], "/tmp/w") == {
        "HOME": "/home/u",
        "USER": "u",
        "LOGNAME": "u",
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TMPDIR": "/t",
        "http_proxy": "p",
        "NODEXFER_GCP_DIR": "/tmp/w",
    }


def test_a_user_without_a_name_still_gets_one() -> None:
    assert environment.clean({"HOME": "/"}, [], "/w")["USER"]


@pytest.mark.parametrize(
    ("code", "text", "error", "words"),
    [
        (1, "Another Globus Connect Personal is currently running", ForeignGcp, "neither joined nor stopped"),
        (1, "Error: '/w/lta' does not exist\nPlease run setup", PoolEntryBroken, "was not set up"),
        (1, "Running Globus Connect Personal as root is not supported", EndpointFailed, "refuses to run as root"),
        (75, "guard: not started: [Errno 2] No such file or directory: '/opt/x'", GcpMissing, "could not be started"),
        (-9, "", EndpointFailed, "signal 9"),
        (3, "", EndpointFailed, "exit code 3: it said nothing"),
        (3, "\n".join("abcdefg"), EndpointFailed, "d / e / f / g"),
    ],
)
def test_last_words_become_an_error(code: int, text: str, error: type[NodexferError], words: str) -> None:
    found = process.explain(code, text, GCP, "/w")
    assert type(found) is error
    assert words in found.message
