"""A RabbitMQ of the sandbox's own: private files, loopback only, and gone when the sandbox's server is.

Debian's package starts a broker of the whole system as another user. This one is its program, started as us in a
directory of ours, with an epmd (by which Erlang programs find each other) at a port of its own. Both are children of
the server with SIGKILL as their death signal; what they start themselves ends with its pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import ServiceUnreachable
from nodexfer.paths import private_directory

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
#: Where Debian and Ubuntu have it. (The one in /usr/sbin would change the user.)
PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
INSTALL = "sudo apt-get install --no-install-recommends rabbitmq-server"

#: It needs 5 s by itself, and half a minute on a machine that is busy with other work.
START_SECONDS = 150.0
STOP_SECONDS = 10.0
TRIES = 3
#: The one of a server that was killed ends at the same moment; the kernel may need a little longer.
LOCK_SECONDS = 10.0

_CONFIGURATION = """\
listeners.tcp.1 = {host}:{port}
default_user = {user}
default_pass = {password}
loopback_users = none
heartbeat = 0
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.absolute = 1GB
log.console = true
log.file = false
"""
#: One scheduler that does not spin while it waits; no epmd but ours; other nodes by loopback only.
_ERLANG = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"


class Ports(NamedTuple):
    amqp: int
    distribution: int
    epmd: int


class Account(NamedTuple):
    """Whom the broker lets in: known to whoever may read the sandbox's files, and to its clients."""

    user: str
    password: str

    @classmethod
    def make(cls) -> Account:
        return cls("sandbox", secrets.token_urlsafe(24))


def need() -> None:
    """:raises ServiceUnreachable: the broker's programs are not installed."""
    if not os.access(PROGRAM, os.X_OK) or shutil.which("epmd", path=PATH) is None:
        raise ServiceUnreachable("The sandbox's Globus Compute needs RabbitMQ, which is not installed.", INSTALL)


class Broker:
    """:meth:`start` from a thread that lives as long as the broker is to."""

    def __init__(self, directory: str, account: Account, ports: Ports | None = None) -> None:
        """:param ports: those of last time: who has connected before finds it again."""
        self._directory = directory
        self._account = account
        self._wanted = ports
        self._log = f"{directory}/broker.log"
        self._lock: int | None = None
        self._epmd: procs.Process | None = None
        self._server: procs.Process | None = None
        self.ports = ports or Ports(0, 0, 0)

    @property
    def url(self) -> str:
        return f"amqp://{self._account.user}:{self._account.password}@{HOST}:{self.ports.amqp}/%2F"

    @property
    def alive(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start it and wait until it lets clients in.

        :raises ServiceUnreachable: it is not installed, or did not start; its log says why.
        """
        need()
        deadline = Deadline(timeout)
        self._make_files()
        wanted = self._wanted
        for _ in range(TRIES):  # somebody may take a port before it does: it ends then
            self._take()
            self.ports, wanted = _free(wanted), None
            self._configure()
            try:
                if self._comes_up(deadline):
                    return
            except BaseException:
                self.stop(0.0)
                raise
            self.stop(0.0)
        raise ServiceUnreachable("The sandbox's broker did not start.", f"tail {self._log}")

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End it in good order, or after ``timeout`` seconds by force; epmd knows no other way."""
        for process, patience in ((self._server, timeout), (self._epmd, 0.0)):
            if process is None:
                continue
            if patience > 0.0 and process.poll() is None:
                process.terminate()
                process.wait(patience)
            process.kill()
            process.wait(5.0)
            process.close()
        self._server = self._epmd = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make_files(self) -> None:
        for name in ("", "/home", "/data"):
            private_directory(f"{self._directory}{name}")
        cookie = f"{self._directory}/home/.erlang.cookie"
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(cookie, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(20))

    def _take(self) -> None:
        """The files are one broker's at a time, which holds this lock as long as it lives."""
        self._lock = os.open(f"{self._directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = Deadline(LOCK_SECONDS)
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if deadline.passed:
                    raise ServiceUnreachable(
                        f"Another broker uses {self._directory}.", f"fuser -v {self._directory}/lock"
                    ) from None
            time.sleep(0.02)

    def _configure(self) -> None:
        user, password = self._account
        text = _CONFIGURATION.format(host=HOST, port=self.ports.amqp, user=user, password=password)
        for name, content in (("rabbitmq.conf", text), ("plugins", "[].\n")):
            path = Path(self._directory, name)
            path.touch(mode=0o600)
            path.write_text(content, encoding="ascii")

    def _spawn(self, argv: list[str]) -> procs.Process:
        lock = () if self._lock is None else (self._lock,)
        with open(self._log, "ab") as output:
            return procs.spawn(
                argv,
                environ=self._environment(),
                stdout=output,
                stderr=output,
                pass_fds=lock,
                death_signal=signal.SIGKILL,
                cwd=self._directory,
            )

    def _environment(self) -> dict[str, str]:
        """All of it: a RABBITMQ_ variable of the user's would turn it elsewhere."""
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": f"{self._directory}/home",
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_CRASH_DUMP_SECONDS": "0",
            # The script then becomes the broker, instead of waiting for it: pid and death signal are the broker's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_NODENAME": "sandbox@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "RABBITMQ_MNESIA_BASE": f"{self._directory}/data",
            "RABBITMQ_LOG_BASE": f"{self._directory}/data",
            "RABBITMQ_CONFIG_FILE": f"{self._directory}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self._directory}/plugins",
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }

    def _comes_up(self, deadline: Deadline) -> bool:
        """False: one of them has ended. :raises ServiceUnreachable: it does not listen in time."""
        self._epmd = self._spawn(["epmd", "-address", HOST, "-port", str(self.ports.epmd)])
        if not self._listens(self._epmd, self.ports.epmd, deadline):
            return False
        self._server = self._spawn([PROGRAM])
        if not self._listens(self._server, self.ports.amqp, deadline):
            return False
        log.info("broker %d at port %d", self._server.pid, self.ports.amqp)
        return True

    def _listens(self, process: procs.Process, port: int, deadline: Deadline) -> bool:
        while process.poll() is None:
            try:
                socket.create_connection((HOST, port), timeout=1.0).close()
                return True
            except OSError:
                if deadline.passed:
                    raise ServiceUnreachable(
                        "The sandbox's broker is not ready in time.", f"tail {self._log}"
                    ) from None
            time.sleep(0.05)
        return False


def _free(wanted: Ports | None) -> Ports:
    """Three ports that nobody has: those of last time, if they are free. (Who takes one meanwhile, wins.)"""
    with contextlib.ExitStack() as stack:
        return Ports(*(_port(number, stack) for number in wanted or Ports(0, 0, 0)))


def _port(wanted: int, stack: contextlib.ExitStack) -> int:
    for number in (wanted, 0):
        found = stack.enter_context(socket.socket())
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, number))
        except OSError:
            continue
        return int(found.getsockname()[1])
    raise AssertionError("the kernel gives no port")
