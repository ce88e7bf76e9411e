"""What a user types for SRC and DEST: ``name:/path``, ``globus://<uuid>/path``, or a path on this node.

Nothing is decoded and nothing is expanded: ``%20`` is three characters, and ``*`` is a file of that name. A path on
this node that reads like a collection is written with its directory: ``./name:/path``.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple, TypeAlias

from nodexfer.config import Config
from nodexfer.errors import UrlMalformed

_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_URL = re.compile(rf"globus://({_UUID})(/.*)\Z", re.DOTALL)
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*):(/.*)\Z", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Remote(NamedTuple):
    """A path on a collection. ``path`` is absolute there, without a trailing slash; ``text`` is as it was typed."""

    collection: str
    path: str
    #: It was typed with a trailing slash: as a destination, "into this directory".
    is_directory: bool
    text: str

    @property
    def name(self) -> str:
        """The last component; '' for the collection's root and for its home."""
        name = self.path.rpartition("/")[2]
        return "" if name == "~" else name

    def below(self, name: str) -> Remote:
        """``name`` in this directory."""
        return Remote(self.collection, f"{self.path.rstrip('/')}/{name}", False, f"{self.text.rstrip('/')}/{name}")


class Local(NamedTuple):
    """A path on this node, absolute; links are not yet followed."""

    path: str
    is_directory: bool
    text: str

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


Location: TypeAlias = "Remote | Local"


def parse(text: str, config: Config, base: str) -> Location:
    """``text`` as a value; a relative path is below ``base``.

    :raises UrlMalformed: it is empty, or neither a path nor a location that we know the form of.
    :raises ConfigMissing, CollectionUnknown: it names a collection that the configuration does not have.
    """
    if not text or "\0" in text:
        raise UrlMalformed("An empty text, or one with a NUL character, names nothing.")
    if found := _URL.match(text):
        return _remote(found[1].lower(), "/", found[2], text)
    if _SCHEME.match(text):
        raise UrlMalformed(f"{text!r} is not of the form globus://<collection uuid>/path.")
    if found := _NAMED.match(text):
        if re.fullmatch(_UUID, found[1]):
            return _remote(found[1].lower(), "/", found[2], text)
        known = config.collection(found[1])
        return _remote(known.id, known.root_path, found[2], text)
    _refuse_half_a_location(text, config)
    path = os.path.normpath(os.path.join(base, text))
    return Local(path, text.endswith("/") or text.split("/")[-1] in (".", ".."), text)


def is_remote(text: str) -> bool:
    """Whether ``text`` has the form of a collection's path, right or wrong."""
    return bool(_SCHEME.match(text) or _NAMED.match(text))


def parse_remote(text: str, config: Config, role: str) -> Remote:
    """:raises UrlMalformed: it is a path on this node; ``role`` says what it was to be."""
    location = parse(text, config, "/")
    if isinstance(location, Remote):
        return location
    raise UrlMalformed(f"The {role} {text!r} is no collection's path: write name:/path or globus://<uuid>/path.")


def parse_local(text: str, config: Config, base: str, role: str) -> Local:
    """:raises UrlMalformed: it is a collection's path; ``role`` says what it was to be."""
    if is_remote(text):
        raise UrlMalformed(f"The {role} {text!r} is a collection's path; a path on this node is wanted.")
    location = parse(text, config, base)
    assert isinstance(location, Local)
    return location


def _remote(collection: str, root: str, path: str, text: str) -> Remote:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise UrlMalformed(f"{text!r}: Globus moves only files whose names are UTF-8.") from error
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UrlMalformed(f"{text!r} has '..' in it; write the path without.")
    # The last one of "a/." means the directory, as for cp.
    is_directory = path.endswith(("/", "/."))
    return Remote(collection, "/".join([root.rstrip("/"), *parts]) or "/", is_directory, text)


def _refuse_half_a_location(text: str, config: Config) -> None:
    """``site:data`` is nearly always ``site:/data``: a file of that name on this node would be a surprise."""
    name, colon, _ = text.partition(":")
    if colon and name in config.collections:
        raise UrlMalformed(f"{text!r}: the path of a collection begins with '/', as in {name}:/path.")
