"""Reading the settings: argument > environment > file > default, one rule for every key."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from nodexfer.config import checks
from nodexfer.config.keys import KEYS, defaults
from nodexfer.config.model import CollectionConfig, Config
from nodexfer.errors import ConfigInvalid, ConfigMissing

_COLLECTION_KEYS = ("id", "root_path", "local_path")


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Config:
    """Read and check everything. Reads one small file at most; writes nothing.

    :param environ: instead of ``os.environ``. An empty variable counts as not set.
    :param overrides: keys of the configuration; None means not given.
    :raises ConfigMissing: ``$NODEXFER_CONFIG`` names a file that is not there.
    :raises ConfigInvalid: a file or a value can not be used; the message names where it is, and what is allowed.
    :raises TypeError: an override is not a key.
    """
    environ = os.environ if environ is None else environ
    unknown = overrides.keys() - KEYS.keys()
    if unknown:
        raise TypeError(f"there is no setting {', '.join(sorted(unknown))}; there are {', '.join(KEYS)}")
    setting = _Settings(environ, overrides)
    home = setting.take("home", lambda: checks.directory(setting.user_home(".nodexfer")))
    file = _find_file(environ, home)
    collections = setting.add_file(file) if file else {}
    node_dir = setting.take("node_dir", lambda: checks.node_dir(f"/tmp/nodexfer-{os.geteuid()}"))  # noqa: S108 (checked by paths)
    for key, value in defaults(node_dir, environ).items():
        setting.take(key, partial(_same, value))
    return Config(setting.values, setting.sources, collections, file, setting.compute)


class _Settings:
    """The values so far, and where they came from."""

    def __init__(self, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        #: ``[compute]`` as it stands in the file: checked where it is used.
        self.compute: dict[str, object] = {}
        self._environ = environ
        self._overrides = overrides
        self._file: str = ""
        self._in_file: Mapping[str, object] = {}

    def add_file(self, path: str) -> dict[str, CollectionConfig]:
        """Read the file: its keys are kept for :meth:`take`, its collections returned."""
        found = _read_toml(path)
        collections = found.pop("collections", {})
        self.compute = found.pop("compute", {})
        if not isinstance(self.compute, dict):
            raise _invalid(path, "compute", "must be a table, as in [compute]")
        allowed = [key for key in KEYS if key != "home"]
        for key in found:
            if key not in allowed:
                why = "says where this very file is: set NODEXFER_HOME" if key == "home" else "is not known"
                known = f"{', '.join(allowed)}, compute and collections.NAME"
                raise _invalid(path, key, f"{why}; the file may have {known}")
        self._file, self._in_file = path, found
        return self._collections(collections)

    def take(self, key: str, default: Callable[[], Any]) -> Any:
        """Settle ``key`` and return its value. :raises ConfigInvalid: what was set can not be used."""
        raw, source = self._find(key)
        if source == "default":
            value = default()
        else:
            try:
                raw = KEYS[key].read(str(raw)) if source.startswith("environment") else raw
                value = KEYS[key].check(self._expanded(raw) if KEYS[key].is_path else raw)
            except ValueError as error:
                raise _invalid(source, key, str(error)) from error
        self.values[key], self.sources[key] = value, source
        return value

    def user_home(self, rest: str) -> str:
        """:raises ConfigInvalid: neither ``$HOME`` nor the password file knows a home directory."""
        home = self._environ.get("HOME") or os.path.expanduser(f"~{_user_name()}")
        if not home.startswith("/"):
            raise ConfigInvalid("HOME is not an absolute path, so that ~ means nothing.", 'export HOME="/home/you"')
        return f"{home.rstrip('/')}/{rest}"

    def _find(self, key: str) -> tuple[object, str]:
        variable = f"NODEXFER_{key.upper()}"
        if self._overrides.get(key) is not None:
            given = self._overrides[key]
            return os.fspath(given) if isinstance(given, os.PathLike) else given, "argument"
        if self._environ.get(variable):
            return self._environ[variable], f"environment variable {variable}"
        if key in self._in_file:
            return self._in_file[key], self._file
        return None, "default"

    def _expanded(self, raw: object) -> object:
        if isinstance(raw, (list, tuple)):
            return [self._expanded(os.fspath(item) if isinstance(item, os.PathLike) else item) for item in raw]
        if isinstance(raw, str) and (raw == "~" or raw.startswith("~/")):
            return self.user_home(raw[2:])
        return raw

    def _collections(self, raw: object) -> dict[str, CollectionConfig]:
        if not isinstance(raw, dict):
            raise _invalid(self._file, "collections", "must be tables, as in [collections.NAME]")
        return {name: self._one_collection(name, value) for name, value in raw.items()}

    def _one_collection(self, name: str, raw: object) -> CollectionConfig:
        key = f"collections.{name}"
        if not isinstance(raw, dict) or not set(raw) <= set(_COLLECTION_KEYS) or "id" not in raw:
            raise _invalid(self._file, key, "must have id, and may have root_path and local_path, and nothing else")
        try:
            checks.collection_name(name)
            key = f"collections.{name}.id"
            uuid = checks.collection_id(raw["id"])
            key = f"collections.{name}.root_path"
            root_path = checks.remote_path(raw.get("root_path", "/"))
            key = f"collections.{name}.local_path"
            local_path = checks.directory(self._expanded(raw["local_path"])) if "local_path" in raw else None
        except ValueError as error:
            raise _invalid(self._file, key, str(error)) from error
        return CollectionConfig(uuid, root_path, local_path)


def _find_file(environ: Mapping[str, str], home: str) -> str | None:
    named = environ.get("NODEXFER_CONFIG")
    path = named or f"{home}/config.toml"
    if os.path.lexists(path):
        return path
    if named:
        raise ConfigMissing(f"NODEXFER_CONFIG names {path}, and there is no such file.", "unset NODEXFER_CONFIG")
    return None


def _read_toml(path: str) -> dict[str, Any]:
    # Only where there is a file: most commands in a job have none, and start from a parallel file system.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            found: dict[str, Any] = tomllib.load(file)
            return found
    except OSError as error:
        raise ConfigInvalid(f"{path} can not be read: {error.strerror}.", f"ls -l {path}") from error
    except ValueError as error:  # bad TOML, or bytes that are not UTF-8
        raise ConfigInvalid(f"{path} is not TOML: {error}.", f"${{EDITOR:-vi}} {path}") from error


def _invalid(source: str, key: str, reason: str) -> ConfigInvalid:
    if source.startswith("environment"):
        variable = source.rpartition(" ")[2]
        return ConfigInvalid(f"The environment variable {variable} {reason}.", f"unset {variable}")
    if source == "argument":
        return ConfigInvalid(f"The argument {key} {reason}.", "")
    return ConfigInvalid(f"{source}: {key} {reason}.", f"${{EDITOR:-vi}} {source}")


def _same(value: Any) -> Any:
    return value


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""
