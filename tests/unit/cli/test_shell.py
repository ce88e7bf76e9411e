"""Lines to eval: every value arrives as it is, in every shell that is there."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodexfer import procs
from nodexfer.cli import shell

AWKWARD = [
    "plain",
    "",
    "two words",
    "it's",
    'a "quote"',
    "$HOME `id` $(id)",
    "a\\b\\\\c",
    "*?[1].{x}",
    "!x !!",
    "-n",
    "ü",
]
PROGRAMS = {"sh": ["bash", "dash"], "csh": ["csh"], "fish": ["fish"]}
EACH = [(kind, program) for kind, programs in PROGRAMS.items() for program in programs]


def run(program: str, script: str) -> procs.Completed:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = ["-f"] if program == "csh" else []
    # GCC: csh and fish want a home.
    return procs.run([program, *options, "-c", script], timeout=30, environ=os.environ)


@pytest.mark.parametrize(("kind", "program"), EACH)
def test_every_value_arrives_as_it_is(kind: str, program: str) -> None:
    values = {f"V{number}": text for number, text in enumerate(AWKWARD)}
    line = shell.exports(kind, values)
    for number, text in enumerate(AWKWARD):
        done = run(program, f"{line} printenv V{number}")
        assert done.code == 0, done
        assert done.out == f"{text}\n"


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30))
def test_a_posix_shell_reads_one_word_whatever_it_is(text: str) -> None:
    import shlex

    assert shlex.split(shell.quote("sh", text)) == [text]


@pytest.mark.parametrize(("kind", "program"), EACH)
def test_a_failure_ends_a_script_with_its_code(kind: str, program: str) -> None:
    evaluate = {
        "sh": 'set -e; eval "$FAILURE"; echo went on',
        "csh": 'eval "$FAILURE"; echo went on',
        "fish": "eval $FAILURE; echo went on",
    }[kind]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    options = ["-f"] if program == "csh" else []
    environ = {**os.environ, "FAILURE": shell.failure(kind, 33)}
    done = procs.run([program, *options, "-c", evaluate], timeout=30, environ=environ)
    assert (done.code, done.out) == (33, "")


@pytest.mark.parametrize("program", PROGRAMS["sh"])
def test_a_failure_without_set_e_is_a_status_and_no_end(program: str) -> None:
    done = run(program, f"eval '{shell.failure('sh', 33)}'; echo $?")
    assert done.out == "33\n"
