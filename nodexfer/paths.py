"""Every file and directory name, and private directories made and checked.

node_dir  /tmp/nodexfer-<uid>          0700; its own flock is the leader's lock
  place                                the place's random id, with the directory's device and inode
  registry.json  registry.lock         the holds
  endpoint.json                        what the leader says of its endpoint
  blocked.json                         what a waiting keeper says of a leader that can neither lead nor be ended
  guard.lock  desk.lock                held for life by the guard and by the desk
  desk.bell                            a FIFO: "look at the spool now"
  keepers/<job>                        locked by the job's keeper for life; keepers/<job>.bell beside it
  spool/<job>/<request>/               one directory a request, one writer a file
  gcp-<place>/                         the working copy of the leased GCP config directory
  exchange/<n>/  outgoing/<request>/   what GCP sees; what waits to be moved in there
  jobs/<job>/                          the job's scratch
  logs/                                and what was said of the end of each job
<root>/nodexfer-<uid>/<place>/         exchange/ and outgoing/, the same, on each further root

home      ~/.nodexfer                  0700, on the shared file system
  config.toml  credentials.json  tokens.json
  pool/<pool>/<endpoint>/              record.json  config/  lease.<n>
  turns/<boot id>/                     which places of a host wait for their turn
  ends/<job>/                          what a scheduler was asked of its job's end, and said; see node/answers.py
  receipts/<yyyy-mm>/                  receipts/.new/ has those that are being written
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache

from nodexfer.errors import DiskFull, NodeDirRemoved, NodeDirUnsafe

SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")

#: A file name has 255 bytes (limits.h, NAME_MAX); the rest is for endings such as ``.bell``.
LONGEST_NAME = 200


@cache
def safe_name(text: str) -> str:
    """``text`` as one file name that no shell, glob or GCP path list can misread (``1[3].server`` has brackets).

    Different texts have different names, of at most 200 bytes, and no name starts with a dot.
    """
    name = "".join(c if c in SAFE else f"={ord(c):x}=" for c in text)
    if len(name) > LONGEST_NAME:
        import hashlib

        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
        name = f"{name[: LONGEST_NAME - 36]}=={digest}"
    return f"=={name}" if name.startswith(".") or not name else name


def private_directory(path: str) -> str:
    """Make ``path`` (its parent must exist) with mode 0700, or check that it is ours alone.

    :raises NodeDirUnsafe: it is a symbolic link, no directory, somebody else's, or open to others.
    :raises NodeDirRemoved: its parent is gone.
    :raises DiskFull: there is no room for it.
    """
    parent = os.path.dirname(path)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError as error:
        raise NodeDirRemoved(f"{parent} does not exist.", f"mkdir -p {parent}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"No space is left to make {path}.", f"df -h {parent}") from error
        raise NodeDirUnsafe(f"{path} can not be made: {error.strerror}.", f"ls -ld {parent}") from error
    check_private(path)
    return path


def check_private(path: str) -> None:
    """See that ``path`` itself is a directory of ours that nobody else can enter.

    :raises NodeDirUnsafe: it is not.
    :raises NodeDirRemoved: it does not exist.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError as error:
        raise NodeDirRemoved(f"{path} does not exist; somebody removed it.", "nodexfer status") from error
    look = f"ls -ld {path}"
    if stat.S_ISLNK(found.st_mode):
        raise NodeDirUnsafe(
            f"{path} is a symbolic link; nodexfer does not follow it, since it may lead anywhere.", look
        )
    if not stat.S_ISDIR(found.st_mode):
        raise NodeDirUnsafe(f"{path} is not a directory.", look)
    if found.st_uid != os.geteuid():
        raise NodeDirUnsafe(f"{path} belongs to user id {found.st_uid}, not to you ({os.geteuid()}).", look)
    if found.st_mode & 0o077:
        raise NodeDirUnsafe(f"{path} can be entered by others (mode {found.st_mode & 0o777:o}).", f"chmod 700 {path}")


class NodePaths:
    """The names below one node_dir. Making the object touches nothing; :meth:`make` makes the directories."""

    def __init__(self, node_dir: str) -> None:
        self.node_dir = node_dir
        self.place = f"{node_dir}/place"
        self.registry = f"{node_dir}/registry.json"
        self.registry_lock = f"{node_dir}/registry.lock"
        self.endpoint = f"{node_dir}/endpoint.json"
        self.blocked = f"{node_dir}/blocked.json"
        self.guard_lock = f"{node_dir}/guard.lock"
        self.desk_lock = f"{node_dir}/desk.lock"
        self.desk_bell = f"{node_dir}/desk.bell"
        self.keepers = f"{node_dir}/keepers"
        self.spool = f"{node_dir}/spool"
        self.jobs = f"{node_dir}/jobs"
        self.logs = f"{node_dir}/logs"

    def make(self) -> NodePaths:
        """Make what is missing, check what is there.

        :raises NodeDirUnsafe, NodeDirRemoved: see :func:`private_directory`.
        """
        private_directory(self.node_dir)
        for path in (self.keepers, self.spool, self.jobs, self.logs):
            private_directory(path)
        return self

    def keeper(self, job: str) -> str:
        return f"{self.keepers}/{safe_name(job)}"

    def keeper_bell(self, job: str) -> str:
        return f"{self.keepers}/{safe_name(job)}.bell"

    def scratch(self, job: str) -> str:
        return f"{self.jobs}/{safe_name(job)}"

    def job_spool(self, job: str) -> str:
        return f"{self.spool}/{safe_name(job)}"

    def request(self, job: str, request: str) -> str:
        return f"{self.job_spool(job)}/{request}"

    def gcp_config(self, place: str) -> str:
        return f"{self.node_dir}/gcp-{place}"


class RootPaths:
    """What nodexfer owns on one root: a directory on a local file system that jobs may name as DEST or SRC."""

    def __init__(self, base: str, above: str | None = None) -> None:
        self.base = base
        #: The directory that holds what each place of this user has on the root; None where ``base`` is the node_dir.
        self.above = above

    @classmethod
    def of(cls, root: str, node_dir: str) -> RootPaths:
        """The node_dir serves the root that it lies on; on another root, each place has a directory of its own.

        Of its own: jobs with a private /tmp are at different places, and may share this root.
        """
        if node_dir == root or node_dir.startswith(root.rstrip("/") + "/"):
            return cls(node_dir)
        above = f"{root.rstrip('/')}/nodexfer-{os.geteuid()}"
        return cls(f"{above}/{_mark(node_dir)}", above)

    def exchange(self, lease: int) -> str:
        """The only directory on this root that GCP sees under lease number ``lease``."""
        return f"{self.base}/exchange/{lease}"

    def outgoing(self, request: str) -> str:
        """Where a stage-out gathers hard links until the leader moves them, in one rename, into the exchange."""
        return f"{self.base}/outgoing/{request}"

    def make(self, lease: int | None = None) -> RootPaths:
        """:raises NodeDirUnsafe, NodeDirRemoved: see :func:`private_directory`."""
        if self.above is not None:
            private_directory(self.above)
        private_directory(self.base)
        private_directory(f"{self.base}/outgoing")
        private_directory(f"{self.base}/exchange")
        if lease is not None:
            private_directory(self.exchange(lease))
        return self


def ground(root: str, node_dir: str) -> str:
    """Which directory ``root`` is, as seen from here: two processes of a node that get the same text see the same one.

    With a private /tmp, the same path is another directory. Of the root that has the node_dir, that is looked at.
    """
    return _mark(node_dir if RootPaths.of(root, node_dir).base == node_dir else root)


def _mark(directory: str) -> str:
    """The directory's device and inode: another directory at the same path is another place."""
    try:
        found = os.stat(directory)
    except OSError:
        return "none"
    return f"{found.st_dev:x}-{found.st_ino:x}"


class HomePaths:
    """The names below the user's nodexfer directory on the shared file system."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.config = f"{home}/config.toml"
        self.credentials = f"{home}/credentials.json"
        self.tokens = f"{home}/tokens.json"
        self.pools = f"{home}/pool"
        self.receipts = f"{home}/receipts"
        self.ends = f"{home}/ends"

    def pool(self, name: str) -> str:
        return f"{self.pools}/{safe_name(name)}"

    def turns(self, boot: str) -> str:
        """Who waits for the turn of their place on the host of this boot."""
        return f"{self.home}/turns/{safe_name(boot)}"
