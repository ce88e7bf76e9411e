"""A user with everything set up, offline: a sandbox, one site, a config file, a pool. For the demonstration and the
benchmarks, and for tests of scripts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from nodexfer import procs
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.sandbox.launch import Sandbox


class Offline(NamedTuple):
    """``environment`` is what a job of the user gets, its job id aside."""

    stage: Stage
    box: Sandbox
    environment: dict[str, str]

    def nodexfer(self, *arguments: str, **more: str) -> Any:
        """Run a nodexfer command with ``--json`` in its arguments; what it prints. ``more`` joins the environment.

        :raises RuntimeError: it did not end with 0.
        """
        done = procs.run(
            [f"{self.stage.bin}/nodexfer", *arguments], timeout=120.0, environ={**self.environment, **more}
        )
        if done.code != 0:
            raise RuntimeError(f"nodexfer {' '.join(arguments)} ended with {done.code}: {done.err.strip()}")
        return json.loads(done.out)

    def pool(self) -> list[dict[str, Any]]:
        """The pool's entries, as ``nodexfer pool list`` tells them."""
        found = self.nodexfer("pool", "list", "--json")
        return list(found["endpoints"] if isinstance(found, dict) else found)


@contextmanager
def offline(
    directory: str,
    endpoints: int = 1,
    sites: Mapping[str, str] | None = None,
    prefix: str = "demo",
    switches: Mapping[str, Any] | None = None,
) -> Iterator[Offline]:
    """Set it up in ``directory`` (which is there, and is the caller's to remove). The sandbox stops at the end.

    :param sites: further site collections, name -> directory; "site" is always there.
    :param switches: see :mod:`nodexfer.sandbox.switches`.
    """
    stage = Stage.at(directory).make()
    served = {"site": stage.site, **(sites or {})}
    allow_root = os.geteuid() == 0
    with Sandbox.start(f"{directory}/sandbox", sites=served, allow_root=allow_root, switches=switches) as box:
        stage.configure({name: box.site_id(name) for name in served})
        user = Offline(stage, box, stage.environment(box.environment, os.environ))
        if endpoints:
            user.nodexfer("pool", "create", "--count", str(endpoints), "--prefix", prefix, "--json")
        yield user
