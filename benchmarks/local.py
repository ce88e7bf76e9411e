"""A job of this machine, in process: it holds without any Globus."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.measure import wait_for
from nodexfer.config import Config, load
from nodexfer.node import hold
from nodexfer.node.locks import taken
from nodexfer.procs import this
from nodexfer.sandbox.demo.stage import Stage
from nodexfer.scheduler import Job, detect


class Here:
    """One job at one place. The holds live by the process that takes them."""

    def __init__(self, config: Config, job: Job) -> None:
        self._config = config
        self._job = job

    def take(self) -> str:
        return hold.take(self._config, self._job, this()).id

    def release(self, hold_id: str) -> None:
        hold.release(self._config, hold_id)

    def registry(self) -> dict[str, Any]:
        with open(self._config.node_paths.registry, encoding="utf-8") as file:
            return dict(json.load(file))

    def wait_for_the_end(self) -> None:
        """Of the keeper, once the last hold is gone."""
        wait_for(lambda: not taken(self._config.node_paths.keeper(self._job.key)), 20, "the keeper's end")


@contextmanager
def job(directory: str, name: str) -> Iterator[Here]:
    """Set up a job in ``directory``; at the end all its holds are released and its keeper has ended."""
    environ = {**Stage.at(directory).make().environment({}, os.environ), "NODEXFER_JOB_ID": name}
    saved = dict(os.environ)
    os.environ.update(environ)  # the keeper gets the environment of who starts it
    here = Here(load(environ), detect(environ))
    try:
        first = here.take()
        yield here
        here.release(first)
        here.wait_for_the_end()
    finally:
        os.environ.clear()
        os.environ.update(saved)
