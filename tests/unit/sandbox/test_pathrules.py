"""The path rules of GCP, without a GCP."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nodexfer.sandbox import pathrules
from nodexfer.sandbox.pathrules import NOT_GIVEN, PathRules, RuleGate, effective, from_config
from nodexfer.sandbox.storage import StorageError

HOME = "/home/me"


def access(rules: str, path: str) -> str:
    parsed = PathRules.parse(rules, HOME)
    return ("r" if parsed.allows(path, write=False) else "") + ("w" if parsed.allows(path, write=True) else "")


@pytest.mark.parametrize(
    ("rules", "path", "expected"),
    [
        ("/data", "/data", "rw"),
        ("/data", "/data/deep/down", "rw"),
        ("/data", "/database", ""),
        ("/data", "/", ""),
        ("r/data", "/data/x", "r"),
        ("W/data", "/data/x", "w"),
        ("RW/data/", "/data/x", "rw"),
        ("n/data", "/data/x", ""),
        ("/", "/anything", "rw"),
        ("r/,rw/tmp/x", "/tmp/x/y", "rw"),
        ("rw/tmp/x,r/", "/tmp/y", "r"),
        ("rw/a,n/a/secret", "/a/secret/x", ""),
        ("n/a/secret,rw/a", "/a/secret/x", ""),
        ("rw/a,n/a/secret,r/a/secret/not", "/a/secret/not/x", "r"),
        ("r/a,rw/a", "/a/x", "r"),
        ("rw~", "/home/me/x", "rw"),
        ("rw~/data", "/home/me/x", ""),
        ("rw/with%2Ccomma", "/with,comma/x", "rw"),
        ("rw/with%25cent", "/with%cent/x", "rw"),
        ("rw/with%252C", "/with%2C/x", "rw"),
        ("rw/a*", "/abc/x", "rw"),
        ("rw/a*", "/a/b", "rw"),
        ("rw/a*/c", "/a/x/c", ""),
        ("rw/a?", "/ab", "rw"),
        ("rw/a?", "/a", ""),
        ("rw/[a-c]x", "/bx/y", "rw"),
        ("rw/[!a-c]x", "/bx/y", ""),
        ("rw/[z-a]", "/[z-a]", "rw"),
        ("rw/[[]", "/[", "rw"),
        (r"rw/a\*", "/a*/x", "rw"),
        (r"rw/a\*", "/ab/x", ""),
        ("", "/", ""),
    ],
)
def test_the_longest_match_decides(rules: str, path: str, expected: str) -> None:
    assert access(rules, path) == expected


def test_an_entry_that_is_not_a_full_path_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a full path"):
        PathRules.parse("rw/a,data", HOME)


@pytest.mark.parametrize(
    ("path", "expected"), [("/home/me/.ssh/id", ""), ("/home/me/.x", ""), ("/home/me/a/.x", "rw"), ("/home/me/a", "rw")]
)
def test_dot_files_of_the_home_are_denied_whatever_the_list_says(path: str, expected: str) -> None:
    assert access(effective("rw~", NOT_GIVEN, str), path) == expected


def test_dot_files_that_are_named_are_denied_too() -> None:
    assert access(effective("rw~/.ssh", NOT_GIVEN, str), "/home/me/.ssh/id") == ""


def test_an_empty_list_denies_everything() -> None:
    assert effective("", NOT_GIVEN, str) == "n/"


def test_only_shared_paths_denies_everything_and_reads_no_file() -> None:
    assert effective(NOT_GIVEN, "/data", lambda: pytest.fail("config-paths was read")) == "n/"


def test_neither_option_reads_config_paths() -> None:
    assert effective(NOT_GIVEN, NOT_GIVEN, lambda: "rw~/") == "rw~/,n~/.*"


def test_config_paths_lines_become_a_list_and_bad_ones_are_told() -> None:
    told: list[str] = []
    text = '~/,0,1\n/read,1,0\n\n"/with,comma%",0,1\n/broken\n/x,0,yes\n'
    assert from_config(text, told.append) == "rw~/,r/read,rw/with%2Ccomma%25"
    assert told == [
        "failed to parse from config file: ['/broken']",
        "failed to parse from config file: ['/x', '0', 'yes']",
    ]


def test_the_home_is_a_name_and_not_a_pattern() -> None:
    assert PathRules.parse("rw~/x", "/home/[a]*").allows("/home/[a]*/x/y", write=True)


def test_a_home_that_can_not_be_entered_is_the_root(tmp_path: Path) -> None:
    assert pathrules.home_directory({"HOME": str(tmp_path / "missing")}) == "/"
    assert pathrules.home_directory({"HOME": str(tmp_path)}) == os.path.realpath(tmp_path)


@pytest.mark.parametrize("path", ["/~/a", "~/a", "/home/me/a", "//home/me//b/../a", "/home/me/./a/"])
def test_the_gate_finds_the_local_path(path: str) -> None:
    assert RuleGate(PathRules.parse("rw~", HOME), HOME).locate(path, write=True) == "/home/me/a"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/home/me/../you", "PERMISSION_DENIED"), ("a", "INVALID_PATH_NAME"), ("/a\0b", "INVALID_PATH_NAME")],
)
def test_the_gate_refuses(path: str, code: str) -> None:
    with pytest.raises(StorageError) as caught:
        RuleGate(PathRules.parse("rw~", HOME), HOME).locate(path, write=False)
    assert caught.value.code == code
