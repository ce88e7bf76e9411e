"""GCP's path rules: which paths ``-restrict-paths`` lets the service see, and write.

The rules are those of the GridFTP server, which GCP hands its list to (globus-gridftp-server(8), ``-restrict-paths``):
a comma list of full paths, each with an optional prefix of R, W, RW or N (none: full access); the longest matching path
decides; what is below a path has its access; "~" is the home directory, or "/" where that can not be entered. GCP adds
``n~/.*``, and escapes commas and per cents as %2C and %25. A link is followed only to where the rules let one go. The
stand-in's programs run with a copy of this file: standard library only.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nodexfer.sandbox.reach import checked
from nodexfer.sandbox.storage import StorageError

#: What GCP always adds: "hard code no dot files".
NO_DOT_FILES = "n~/.*"
#: What an empty list stands for: nothing at all.
NOTHING = "n/"
#: GCP's word for an option that was not given.
NOT_GIVEN = "NONE"
#: What ``config-paths`` says when GCP first needs it: home, no sharing, writable.
DEFAULT_CONFIG_PATHS = "~/,0,1\n"

_ENTRY = re.compile(r"([rRwWnN]*)([/~].*)", re.DOTALL)


class Rule(NamedTuple):
    """``pattern`` matches one leading part of a path, of ``depth`` names."""

    read: bool
    write: bool
    pattern: re.Pattern[str]
    depth: int


class PathRules:
    """Decides about local paths that are absolute and lexically normal. Nothing matches: no access."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)

    @classmethod
    def parse(cls, text: str, home: str) -> PathRules:
        """The rules of a list, without what GCP adds.

        :raises ValueError: an entry is not a full path.
        """
        return cls([_rule(entry, home) for entry in text.split(",") if entry])

    def allows(self, path: str, write: bool) -> bool:
        """True if the longest match gives the access; of two equally long ones, both must."""
        names = _names(path)
        best = -1
        allowed = False
        for rule in self._rules:
            if rule.depth > len(names):
                continue
            leading = "".join(f"/{name}" for name in names[: rule.depth])
            if not rule.pattern.fullmatch(leading) or len(leading) < best:
                continue
            access = rule.write if write else rule.read
            allowed = access if len(leading) > best else allowed and access
            best = len(leading)
        return allowed


def effective(restrict: str, shared: str, read_config: Callable[[], str]) -> str:
    """The list that GCP hands on, from its two options (:data:`NOT_GIVEN` where one was not there).

    If either option was given, config-paths is not looked at: only ``-shared-paths`` therefore denies everything.

    :param read_config: the list that config-paths stands for (see :func:`from_config`).
    """
    if restrict == NOT_GIVEN:
        restrict = read_config() if shared == NOT_GIVEN else ""
    return f"{restrict},{NO_DOT_FILES}" if restrict else NOTHING


def from_config(text: str, complain: Callable[[str], None]) -> str:
    """The list that the lines ``path,sharing,write`` stand for; read access goes without saying.

    A line that is none of these is told to ``complain`` and left out.
    """
    import csv  # only where no option was given, which nodexfer always does

    entries = []
    for fields in csv.reader(text.splitlines()):
        if not fields:
            continue
        if len(fields) != 3 or not fields[0] or not {*fields[1:]} <= {"0", "1"}:
            complain(f"failed to parse from config file: {fields}")
            continue
        entries.append(("rw" if fields[2] == "1" else "r") + escape(fields[0]))
    return ",".join(entries)


def escape(path: str) -> str:
    return path.replace("%", "%25").replace(",", "%2C")


def home_directory(environ: dict[str, str]) -> str:
    """What "~" stands for."""
    home = os.path.realpath(environ.get("HOME") or "/")
    return home if os.access(home, os.X_OK) else "/"


class RuleGate:
    """A :class:`~nodexfer.sandbox.reach.Gate`: both the path as asked and where it leads must be allowed."""

    def __init__(self, rules: PathRules, home: str) -> None:
        self._rules = rules
        self._home = home

    def locate(self, path: str, write: bool) -> str:
        path = checked(path)
        for tilde in ("~", "/~"):
            if path == tilde or path.startswith(tilde + "/"):
                path = f"{self._home}/{path[len(tilde) :]}"
        if not path.startswith("/"):
            raise StorageError("INVALID_PATH_NAME", f"500 Command failed. : Not an absolute path: {path}")
        local = posixpath.normpath("/" + path.lstrip("/"))
        self.check(local, write)
        return local

    def check(self, real: str, write: bool) -> None:
        if not self._rules.allows(real, write):
            raise StorageError("PERMISSION_DENIED", "500 Command failed. : Path not allowed.")


def _rule(entry: str, home: str) -> Rule:
    match = _ENTRY.fullmatch(entry)
    if not match:
        raise ValueError(f"not a full path: {entry!r}")
    letters, path = match[1].lower(), match[2]
    if letters and "n" in letters:
        letters = "n"
    path = path.replace("%2C", ",").replace("%2c", ",").replace("%25", "%")
    if path == "~" or path.startswith("~/"):
        # The home is a name, not a pattern.
        path = re.sub(r"([*?\[\]\\])", r"\\\1", home) + path[1:]
    names = _names(path)
    pattern = re.compile("".join("/" + _pattern(name) for name in names), re.DOTALL)
    return Rule(not letters or "r" in letters, not letters or "w" in letters, pattern, len(names))


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _pattern(name: str) -> str:
    """A regular expression for one name of a rule: ``*``, ``?``, ``[...]``, and the backslash that makes them plain."""
    result = ""
    at = 0
    while at < len(name):
        letter = name[at]
        at += 1
        if letter == "\\" and at < len(name):
            result += re.escape(name[at])
            at += 1
        elif letter == "*":
            result += "[^/]*"
        elif letter == "?":
            result += "[^/]"
        elif letter == "[" and (end := name.find("]", at + 1)) > 0:
            result += _bracket(name[at:end])
            at = end + 1
        else:
            result += re.escape(letter)
    return result


def _bracket(inside: str) -> str:
    no, letters = ("^", inside[1:]) if inside[0] in "!^" else ("", inside)
    expression = f"[{no}" + re.sub(r"([\\\[\]^&|~])", r"\\\1", letters) + "]"
    try:
        re.compile(expression)
    except re.error:
        return re.escape(f"[{inside}]")  # nothing between the brackets, or a range the wrong way round
    return expression
