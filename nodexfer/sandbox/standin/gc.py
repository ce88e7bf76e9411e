"""gc.py: keeps relaytool connected, starts one GridFTP server per data connection, and reports every few seconds."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time

from nodexfer.sandbox import pathrules
from nodexfer.sandbox.standin import children, settings
from nodexfer.sandbox.standin.children import Child

VERSION_TAG = "GCP-3.2.8L"


def main(here: str, argv: list[str]) -> int:
    """CONFIGDIR RESTRICT SHARED forward|pause"""
    config_dir, restrict, shared, mode = argv
    # The terminal's interrupt is for gc-ctrl.py, with which everything ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("lta", "lta/gridmap", "lta/config"):
        if not os.path.exists(f"{config_dir}/{name}"):
            print(f"Error: '{config_dir}/{name}' does not exist\nPlease run setup", file=sys.stderr)
            return 1
    return _Connect(here, config_dir, restrict, shared, mode).run()


class _Connect:
    def __init__(self, here: str, config_dir: str, restrict: str, shared: str, mode: str) -> None:
        self._here = here
        self._known = settings.read(here)
        self._config_dir = config_dir
        self._restrict = restrict
        self._shared = shared
        self._mode = mode
        self._relaytool: Child | None = None
        self._relay_state = "n/a"
        self._relay_line = b""
        self._relay_due = 0.0
        self._report_due = 0.0
        self._servers: dict[int, Child] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Until gc-ctrl.py is gone, however it went. The children have their own lifelines from us."""
        ended, wake = os.pipe()
        os.set_blocking(ended, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector.register(0, selectors.EVENT_READ)
        self._selector.register(ended, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if self._relaytool is None and now >= self._relay_due:
                self._start_relaytool()
            if now >= self._report_due:
                self._report_due = now + self._known.report_seconds
                self._say(f"#gridftp {len(self._servers)}\n#relaytool {self._relay_state}")
            for key, _ in self._selector.select(self._until_next()):
                if key.fd == 0:
                    if not os.read(0, 4096):
                        self._say("parent died, exiting")
                        return 0
                elif key.fd == ended:
                    os.read(ended, 4096)
                    self._reap()
                elif self._relaytool and key.fd == self._relaytool.out:
                    self._hear_relaytool(self._relaytool)

    def _until_next(self) -> float:
        due = self._report_due if self._relaytool else min(self._report_due, self._relay_due)
        return max(0.0, due - time.monotonic())

    def _say(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError:
            pass  # gc-ctrl.py is going; the lifeline says so next

    def _start_relaytool(self) -> None:
        self._known = settings.read(self._here)
        program = f"{self._here}/gt_amd64/bin/relaytool"
        self._relaytool = children.start(program, [self._config_dir, self._mode], own_group=True)
        self._relay_state = "connecting"
        self._relay_line = b""
        self._selector.register(self._relaytool.out, selectors.EVENT_READ)

    def _hear_relaytool(self, relaytool: Child) -> None:
        data = os.read(relaytool.out, 65536)
        if not data:
            self._selector.unregister(relaytool.out)
            children.cut(relaytool)
            self._relaytool = None
            self._relay_state = "n/a"
            self._relay_due = time.monotonic() + self._known.reconnect_seconds
            return
        *lines, self._relay_line = (self._relay_line + data).split(b"\n")
        for line in lines:
            words = line.decode("ascii", errors="replace").split()
            if "RELAYTOOL=1" not in words:
                continue
            fields = dict(word.split("=", 1) for word in words)
            if "status" in fields:
                self._relay_state = fields["status"].lower()
            if "open" in fields:
                self._start_server(fields["open"])

    def _start_server(self, session: str) -> None:
        """The path rules are read for every new server, as the real one does: old connections keep old rules."""
        rules = pathrules.effective(self._restrict, self._shared, self._config_paths)
        shared = self._shared if self._shared not in ("", pathrules.NOT_GIVEN) else pathrules.NOTHING
        program = f"{self._here}/gt_amd64/sbin/globus-gridftp-server"
        arguments = [
            "-i",
            self._config_dir,
            "-restrict-paths",
            rules,
            "-sharing-rp",
            shared,
            "-version-tag",
            VERSION_TAG,
        ]
        child = children.start(program, arguments, out=False)
        # Its one-time number goes by the pipe: an argument could be read by anybody on the node.
        try:
            os.write(child.lifeline, f"{session}\n".encode())
        except BrokenPipeError:
            pass  # killed already; it is collected like any other
        self._servers[child.pid] = child

    def _config_paths(self) -> str:
        path = f"{self._config_dir}/lta/config-paths"
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except FileNotFoundError:
            text = pathrules.DEFAULT_CONFIG_PATHS
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return pathrules.from_config(text, self._say)

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (child := self._servers.pop(pid, None)) is not None:
                children.cut(child)
