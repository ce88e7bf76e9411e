"""Where the route ``via`` keeps what is on its way: a private directory that the site's own collection shows.

<area>/<request>/
  errand.json    what is asked, and by whom; written before anything else is done
  task.json      the task (:mod:`nodexfer.staging.via_errand`)
  data/<number>  what has come, or is to go
  lock           held by the process that asks Globus
"""

from __future__ import annotations

import os
import shutil
import time
from typing import NamedTuple

import msgspec

from nodexfer import identity
from nodexfer.config import Config
from nodexfer.errors import CollectionUnknown, HomeFull, NodexferError, PermissionRefused
from nodexfer.identity import ProcessId
from nodexfer.paths import private_directory
from nodexfer.staging import spool, via_site
from nodexfer.staging.request import Request
from nodexfer.staging.salvage_record import is_full
from nodexfer.staging.via_site import Site

ERRAND, TASK = "errand.json", "task.json"
#: Seconds after its deadline that a request of an unknown host counts as dead: its process has ended by then.
_DEAD_SECONDS = 300.0


class Area(NamedTuple):
    site: Site
    path: str


class Order(msgspec.Struct, frozen=True, kw_only=True):
    format: int = 1
    host: str
    boot: str
    request: Request


def find(config: Config) -> Area:
    """The area below our home, else at the top of a collection's directory where we may write.

    :raises CollectionUnknown: there is none: no collection has a ``local_path`` that serves.
    """
    site = via_site.covering(config, config.home)
    if site is not None:
        return Area(site, f"{os.path.realpath(config.home)}/via")
    for site in via_site.sites(config):
        if os.access(site.local_path, os.W_OK | os.X_OK):
            return Area(site, f"{site.local_path}/.nodexfer-via-{os.geteuid()}")
    raise _none(config)


def _none(config: Config) -> CollectionUnknown:
    try:
        via_site.must_cover(config, config.home)
    except CollectionUnknown as error:
        return CollectionUnknown(f"The route via the site's own collection is not open. {error.message}", error.next)
    raise AssertionError  # must_cover() found none a moment ago


def make(area: Area, request: Request) -> str:
    """The request's directory, with its errand in it. :raises HomeFull, PermissionRefused, NodeDirUnsafe."""
    directory = f"{area.path}/{request.id}"
    try:
        os.makedirs(os.path.dirname(area.path), 0o700, exist_ok=True)
        private_directory(area.path)
        os.mkdir(directory, 0o700)
        spool.write(directory, ERRAND, Order(host=identity.host(), boot=identity.boot_id(), request=request))
        os.mkdir(f"{directory}/data", 0o700)
    except NodexferError:
        remove(directory)
        raise
    except OSError as error:
        remove(directory)
        if is_full(error):
            raise HomeFull(f"No space is left in {area.path}; nothing was moved.", f"df -h {area.path}") from error
        raise PermissionRefused(
            f"{directory} can not be made: {error.strerror}.", f"ls -ld {os.path.dirname(area.path)}"
        ) from error
    return directory


def remove(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    try:
        os.rmdir(os.path.dirname(directory))
    except OSError:
        pass


def read(directory: str) -> Order | None:
    return spool.read(directory, ERRAND, Order)


def dead(area: Area) -> list[str]:
    """The directories of requests whose process is proven dead, or out of time for long."""
    try:
        names = os.listdir(area.path)
    except OSError:
        return []
    return [path for name in names if _is_dead(path := f"{area.path}/{name}")]


def _is_dead(directory: str) -> bool:
    try:
        order = read(directory)
        if order is None:  # it died before it wrote one, or is about to
            return time.time() - os.stat(directory).st_mtime > _DEAD_SECONDS
    except (NodexferError, OSError):
        return False
    if order.request.deadline + _DEAD_SECONDS < time.time():
        return True
    if order.host != identity.host():
        return False
    owner = order.request.owner
    return order.boot != identity.boot_id() or not ProcessId(owner.pid, owner.start, owner.namespace).alive
