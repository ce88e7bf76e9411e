"""A GCP config directory: made from a setup key, copied to the node for a lease, its changed files brought back.

``lta/client-id.txt`` holds the endpoint's id and ``lta/*.pem`` its private key (globus-sdk, LocalGlobusConnectPersonal;
gc.py of 2.3.5): whoever can read the directory can be the endpoint. 0700 and 0600 throughout.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence

from nodexfer import procs, records
from nodexfer.errors import DiskFull, EndpointFailed, GcpMissing, HomeFull, PoolEntryBroken
from nodexfer.gcp import environment
from nodexfer.gcp.install import Program

#: Nothing of a config directory is as large as this.
LIMIT_BYTES = 4 * 1024 * 1024
#: What an instance writes for itself; the pool keeps its own.
OF_THE_INSTANCE = ("config-paths", "config-paths.tmp", "register.log")
#: What the name of a file that is being brought back begins with; the next one to bring any back removes a dead one's.
_HALF = ".tmp-"
_ID = frozenset("0123456789abcdef-")


def endpoint_id(config_dir: str) -> str:
    """What ``lta/client-id.txt`` says.

    :raises PoolEntryBroken: it is missing or holds no UUID.
    :raises NodexferError: the file system does not give it now (:func:`nodexfer.records.unusable`).
    """
    path = f"{config_dir}/lta/client-id.txt"
    try:
        text = _read(path).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _broken(config_dir, f"{path} is missing") from error
    except OSError as error:
        if os.path.islink(path):  # it is not followed
            raise _broken(config_dir, f"{path} is a symbolic link") from error
        raise records.unusable(error, path) from error
    if len(text) != 36 or not _ID.issuperset(text):
        raise _broken(config_dir, f"{path} holds no endpoint id")
    return text


def setup(
    program: Program,
    key: str,
    config_dir: str,
    *,
    prefix: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    timeout: float = 120.0,
) -> str:
    """Register the endpoint of a one-time ``key`` in ``config_dir`` (made here, 0700) and give its id.

    GCP takes the key as an argument and no other way, so it is in the argument list of that one program while it runs;
    it is in no message and no log of ours.

    :raises EndpointFailed: it did not work; GCP's own words without the key.
    :raises GcpMissing: the program could not be started.
    """
    os.makedirs(config_dir, 0o700, exist_ok=True)
    os.chmod(config_dir, 0o700)
    argv = [*prefix, program.path, "-setup", "--setup-key", key, "-dir", config_dir]
    cleaned = environment.clean(os.environ if environ is None else environ, keep, config_dir)
    try:
        done = procs.run(argv, timeout=timeout, environ=cleaned)
    except procs.ProgramTimeout:
        # From None: what it was raised from quotes the argument list, and with it the key.
        raise EndpointFailed(f"{program.path} -setup did not end within {timeout:g} s.", "nodexfer pool list") from None
    except OSError as error:
        raise GcpMissing(f"{program.path} could not be started: {error.strerror}.") from error
    if done.code != 0:
        words = _masked(f"{done.out}\n{done.err}\n{_register_log(config_dir)}", key)
        raise EndpointFailed(
            f"{program.path} -setup failed with exit code {done.code}: {_one_line(words)[-600:]}", "nodexfer pool list"
        )
    for name, is_directory in _walk(config_dir):
        os.chmod(f"{config_dir}/{name}", 0o700 if is_directory else 0o600)
    return endpoint_id(config_dir)


def _masked(text: str, key: str) -> str:
    return text.replace(key, "<setup key>")


def _one_line(text: str) -> str:
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())


def _register_log(config_dir: str) -> str:
    try:
        return _read(f"{config_dir}/lta/register.log").decode(errors="replace")
    except OSError:
        return ""


def check_out(source: str, working: str) -> str:
    """Copy the pool's config directory to ``working`` on the node's own disk and give the endpoint's id.

    ``working`` is complete or not there: the copy is made beside it and renamed. An older one is removed first.

    :raises PoolEntryBroken: it is missing, somebody else's, or not a config directory.
    :raises DiskFull, NodexferError: nothing is at ``working``; a file system has something against it.
    """
    _check_owner(source)
    endpoint_id(source)
    remove(working)
    half = f"{working}.half"
    remove(half)
    try:
        os.mkdir(half, 0o700)
        for name, is_directory in _walk(source):
            if is_directory:
                os.mkdir(f"{half}/{name}", 0o700)
            else:
                _write(f"{half}/{name}", _read(f"{source}/{name}"), flush=False)
        os.rename(half, working)
    except OSError as error:
        if _is_full(error):
            raise DiskFull(f"No space is left for {working}.", f"df -h {os.path.dirname(working)}") from error
        at = str(error.filename or source)
        if isinstance(error, FileNotFoundError) and at.startswith(source):
            raise _broken(source, f"{at} was removed while it was copied") from error
        raise records.unusable(error, at) from error
    return endpoint_id(working)


def check_in(working: str, source: str) -> list[str]:
    """Bring files that GCP changed back to the pool, one rename a file; their names.

    Only while the lease is ours. Empty files and the instance's own are left. A death in between leaves each file old
    or new.

    :raises PoolEntryBroken: ``working`` is no more the endpoint that ``source`` is; nothing was written.
    :raises HomeFull: some may have been brought back; ``working`` still has them all.
    """
    if not os.path.isdir(f"{working}/lta"):
        return []
    if endpoint_id(working) != endpoint_id(source):
        raise _broken(source, f"{working} holds another endpoint")
    for name, _ in list(_walk(source, everything=True)):
        if os.path.basename(name).startswith(_HALF):
            os.unlink(f"{source}/{name}")
    changed = []
    for name, is_directory in _walk(working):
        if is_directory or os.path.basename(name) in OF_THE_INSTANCE or name.endswith(".log"):
            continue
        data = _read(f"{working}/{name}")
        if data and data != _read_or_empty(f"{source}/{name}"):
            _bring(f"{source}/{name}", data)
            changed.append(name)
    return changed


def _bring(target: str, data: bytes) -> None:
    directory = os.path.dirname(target)
    temporary = f"{directory}/{_HALF}{os.getpid()}"
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        _write(temporary, data, flush=True)
        os.rename(temporary, target)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        if _is_full(error):
            raise HomeFull(f"No space is left for {target}.", f"df -h {directory}") from error
        raise


def remove(directory: str) -> None:
    """Remove a config directory of ours and everything in it, following no link. None there is no error."""
    if not os.path.isdir(directory) or os.path.islink(directory):
        return
    found = list(_walk(directory, everything=True))
    for name, is_directory in reversed(found):
        (os.rmdir if is_directory else os.unlink)(f"{directory}/{name}")
    os.rmdir(directory)


def _walk(top: str, everything: bool = False) -> Iterator[tuple[str, bool]]:
    """(relative name, is it a directory), parents first. Links, sockets and devices only with ``everything``."""
    todo = [""]
    while todo:
        below = todo.pop()
        for entry in sorted(os.scandir(f"{top}/{below}"), key=lambda entry: entry.name):
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield name, True
                todo.append(f"{name}/")
            elif everything or (entry.is_file(follow_symlinks=False) and not entry.name.startswith(_HALF)):
                yield name, False


def _check_owner(config_dir: str) -> None:
    """GCP refuses files of another owner, and so do we: the key in them is theirs."""
    try:
        found = os.lstat(config_dir)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _broken(config_dir, f"{config_dir} is missing") from error
    except OSError as error:
        raise records.unusable(error, config_dir) from error
    if not stat.S_ISDIR(found.st_mode):
        raise _broken(config_dir, f"{config_dir} is not a directory")
    if found.st_uid != os.geteuid():
        raise _broken(config_dir, f"{config_dir} belongs to user id {found.st_uid}")


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        try:
            return file.read(LIMIT_BYTES)
        except OSError as error:
            error.filename = path
            raise


def _read_or_empty(path: str) -> bytes:
    try:
        return _read(path)
    except FileNotFoundError:
        return b""


def _write(path: str, data: bytes, *, flush: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if flush:
            os.fsync(descriptor)


def _is_full(error: OSError) -> bool:
    import errno

    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _broken(config_dir: str, reason: str) -> PoolEntryBroken:
    """The entry's name is the directory above ``config``: pool/<pool>/<entry>/config."""
    entry = os.path.basename(os.path.dirname(config_dir.rstrip("/")))
    return PoolEntryBroken(f"The pool entry {entry} is broken: {reason}.", f"nodexfer pool remove {entry}")
