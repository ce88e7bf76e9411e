"""What the engine knows of a task beside the task itself."""

from __future__ import annotations

import threading

from nodexfer.sandbox.engine.control import Control
from nodexfer.sandbox.engine.journal import Journal
from nodexfer.sandbox.model import Task


class Closed(Exception):
    """This engine takes no more tasks."""


class Entry:
    """A task and what moves it. ``control`` is there while an attempt runs."""

    def __init__(self, task: Task, journal: Journal) -> None:
        self.task = task
        self.journal = journal
        self.control: Control | None = None
        self.ready_at = 0.0
        self.failed_at = 0.0
        self.over = threading.Event()
        if task.over:
            self.over.set()
