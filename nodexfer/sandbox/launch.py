"""Starting, finding and stopping a sandbox: what tests, the demonstration and ``nodexfer sandbox`` use.

    with Sandbox.start(directory, sites={"site": "/some/dir"}) as box:
        subprocess.run(["globus", "ls", box.site_id("site")], env={**os.environ, **box.environment})

Standard library only: the server, with its dependencies, is another process.
"""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import select
import signal
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from nodexfer import procs
from nodexfer.clock import Deadline
from nodexfer.errors import ServiceRefused, ServiceUnreachable
from nodexfer.identity import ProcessId
from nodexfer.sandbox.compute import turned
from nodexfer.sandbox.compute.broker import need as need_broker
from nodexfer.sandbox.layout import Layout
from nodexfer.sandbox.readiness import ready

#: Services whose address is turned to the sandbox: none of a user's scripts may reach the real one by mistake.
SERVICES = ("TRANSFER", "AUTH", "GROUPS", "SEARCH", "TIMER", "FLOWS", "COMPUTE")
#: The server has so long to start and to stop, in seconds.
START_SECONDS = 60.0
#: With Globus Compute: its broker needs 5 s by itself, and much longer on a busy machine.
COMPUTE_SECONDS = 180.0
STOP_SECONDS = 20.0


class Sandbox:
    """A running sandbox. ``url`` ends in a slash."""

    def __init__(self, layout: Layout, running: Mapping[str, Any], process: procs.Process | None = None) -> None:
        self._layout = layout
        self._known = layout.describe()
        self._admin_token = layout.read_admin_token()
        self._pid = int(running["pid"])
        self._process = process
        self._sites: dict[str, str] = {}
        self.url = str(running["url"])
        #: Where Globus Compute is, or None.
        self.compute_url: str | None = running.get("compute")
        self.gcp = str(running["gcp"])

    # its life ---------------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        directory: str | os.PathLike[str],
        sites: Mapping[str, str] | None = None,
        *,
        allow_root: bool | None = None,
        die_with_parent: bool = True,
        switches: Mapping[str, Any] | None = None,
        relay_unix: str | None = None,
        compute: bool = False,
        compute_port: int | None = None,
    ) -> Sandbox:
        """Start the server of ``directory`` (made if it is not there; its state is taken up if it is) and wait for it.

        :param sites: site collections: name -> the directory that it serves. Those of earlier starts are kept.
        :param allow_root: whether the stand-in runs as root (the real GCP refuses). None: if we are root.
        :param die_with_parent: the kernel kills the server when the calling **thread** ends.
        :param switches: see :mod:`nodexfer.sandbox.switches`. Those turned later are kept for the next start.
        :param relay_unix: a Unix socket for stand-ins in another network namespace.
        :param compute: with Globus Compute, which needs Debian's rabbitmq-server.
        :param compute_port: where it listens; None: where it did last time, or anywhere. At 5000 the SDK of Globus
            Compute finds it by itself; for another, :attr:`environment` has a PYTHONPATH.
        :raises ServiceUnreachable: it did not start; the log's end is in the message.
        :raises NodexferError: it needs packages that are not installed.
        :raises SecretExposed: its admin token can be read by others.
        :raises ServiceRefused: a sandbox of this directory runs already.
        """
        layout = Layout(os.path.realpath(directory))
        argv = procs.python("-m", "nodexfer.sandbox.server", "--directory", layout.directory)
        for name, root in (sites or {}).items():
            argv += ["--site", f"{name}={os.path.realpath(root)}"]
        if os.geteuid() == 0 if allow_root is None else allow_root:
            argv.append("--allow-root")
        if relay_unix is not None:
            argv += ["--relay-unix", relay_unix]
        argv += ["--switches", json.dumps(dict(switches or {}))]
        if compute:
            need_broker()
            argv += ["--compute", *([] if compute_port is None else ["--compute-port", str(compute_port)])]
        layout.make().read_admin_token()
        with open(layout.log, "ab") as errors:
            process = procs.spawn(
                argv,
                stdout=procs.PIPE,
                stderr=errors,
                new_session=not die_with_parent,
                death_signal=signal.SIGKILL if die_with_parent else None,
                cwd="/",
            )
        seconds = COMPUTE_SECONDS if compute else START_SECONDS
        return cls(layout, ready(process, layout, Deadline(seconds)), process)

    @classmethod
    def attach(cls, directory: str | os.PathLike[str]) -> Sandbox:
        """The sandbox that runs in ``directory``. :raises ServiceUnreachable: none does."""
        found = cls.find(directory)
        if found is None:
            where = os.path.realpath(directory)
            raise ServiceUnreachable(f"No sandbox runs in {where}.", f"nodexfer sandbox start --dir {where}")
        return found

    @classmethod
    def find(cls, directory: str | os.PathLike[str]) -> Sandbox | None:
        """The sandbox that runs in ``directory``, if one does."""
        layout = Layout(os.path.realpath(directory))
        try:
            running = layout.read_running() if is_running(layout) else None
        except FileNotFoundError:
            running = None
        return None if running is None else cls(layout, running)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End the server; its state stays for the next start. Killed if it does not go within ``timeout`` seconds."""
        try:
            self.admin("stop", {})
        except (ServiceUnreachable, ServiceRefused):
            pass  # it is gone, or will be killed below
        if not _gone(self._layout, self._process, Deadline(timeout)):
            self._kill()
            _gone(self._layout, self._process, Deadline(5.0))

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            return
        try:
            procs.signal(ProcessId.of(self._pid), signal.SIGKILL)
        except ProcessLookupError:
            pass

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # what its users need ----------------------------------------------------------------------------------------

    @property
    def directory(self) -> str:
        return self._layout.directory

    @property
    def id(self) -> str:
        return str(self._known["id"])

    @property
    def environment(self) -> dict[str, str]:
        """What turns globus-sdk, globus-cli and nodexfer to this sandbox. It has secrets in it."""
        client, secret = str(self._known["client_id"]), str(self._known["client_secret"])
        return {
            **{f"GLOBUS_SDK_SERVICE_URL_{name}": self.url for name in SERVICES},
            "GLOBUS_CLI_CLIENT_ID": client,
            "GLOBUS_CLI_CLIENT_SECRET": secret,
            "NODEXFER_CLIENT_ID": client,
            "NODEXFER_CLIENT_SECRET": secret,
            "NODEXFER_GCP": self.gcp,
            "NODEXFER_GCP_ADDRESS": f"/org/globusonline/globusconnect/sandbox-{self.id}",
            **self._compute_environment(client, secret),
        }

    def _compute_environment(self, client: str, secret: str) -> dict[str, str]:
        if self.compute_url is None:
            return {}
        return {
            "GLOBUS_COMPUTE_CLIENT_ID": client,
            "GLOBUS_COMPUTE_CLIENT_SECRET": secret,
            **turned.environment(self.compute_url, f"{self._layout.compute}/python", os.environ.get("PYTHONPATH")),
        }

    def site_id(self, name: str) -> str:
        """The collection id of a site. It stays the same through resets and restarts."""
        if name not in self._sites:
            self._sites = dict(self.status()["sites"])
        return self._sites[name]

    def status(self) -> dict[str, Any]:
        """Endpoints, faults, switches, counts of tasks, and who was ever connected as GCP (``gcp``)."""
        return self.admin("status")

    def fault(self, kind: str, **fields: Any) -> str:
        """Set a fault (see :data:`nodexfer.sandbox.faults.KINDS`); its id. An endpoint is named by id or name."""
        return str(self.admin("fault", {"kind": kind, **fields})["id"])

    def clear(self, id: str | None = None) -> int:
        """Clear one fault, or all; how many there were. :raises ServiceRefused: there is none of this id."""
        return int(self.admin("fault" if id is None else f"fault/{id}", method="DELETE")["cleared"])

    def switch(self, **values: Any) -> dict[str, Any]:
        """Turn switches while it runs; all of them, as they are then."""
        return self.admin("fault", {"kind": "switch", **values})

    def requests(self) -> int:
        """How many requests Auth and Transfer have had since the server started; ours do not count."""
        return int(self.admin("requests")["count"])

    def reset(self) -> None:
        """Forget endpoints, tasks, tokens and faults; the client and the sites stay, switches are as at the start."""
        self.admin("reset", {})

    def add_client(self, name: str = "another client") -> tuple[str, str]:
        """Id and secret of one more identity."""
        made = self.admin("client", {"name": name})
        return str(made["id"]), str(made["secret"])

    def add_site(self, name: str, root: str) -> str:
        """One more site collection; its id."""
        return str(self.admin("site", {"name": name, "root": os.path.realpath(root)})["id"])

    def admin(self, path: str, body: Mapping[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
        """Ask ``/sandbox/<path>`` (POST with a body, else GET).

        :raises ServiceUnreachable: the server does not answer. :raises ServiceRefused: it says no, and why.
        """
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30.0)
        headers = {"Authorization": f"Bearer {self._admin_token}", "Content-Type": "application/json"}
        text = None if body is None else json.dumps(dict(body))
        try:
            connection.request(
                method or ("GET" if body is None else "POST"), f"/sandbox/{path.lstrip('/')}", text, headers
            )
            answer = connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServiceUnreachable(
                f"The sandbox at {self.url} does not answer ({error}).", f"cat {self._layout.log}"
            ) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise ServiceRefused(f"The sandbox refuses: {found.get('message')}", "nodexfer sandbox fault list")
        return dict(found)


def is_running(layout: Layout) -> bool:
    """Whether a server holds the directory's lock. :raises FileNotFoundError: there is no sandbox."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return True
        raise
    finally:
        os.close(descriptor)
    return False


def _gone(layout: Layout, process: procs.Process | None, deadline: Deadline) -> bool:
    """Wait until the server has ended: for a child by its exit, else by its lock."""
    if process is not None:
        return process.wait(deadline.left) is not None
    while is_running(layout):
        if deadline.passed:
            return False
        select.select([], [], [], min(0.02, deadline.left))
    return True
