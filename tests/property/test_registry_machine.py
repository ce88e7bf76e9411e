"""The registry beside a model: whatever happens, in whatever order, the count is that of the holds that live."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from nodexfer import records
from nodexfer.errors import RecordBroken, RecordNewer
from nodexfer.identity import ProcessId
from nodexfer.node import locks, registry
from nodexfer.paths import NodePaths

JOBS = ("a", "b", "c[1].server")
#: Processes of this namespace, and of another one, where only the keeper knows.
HERE, ELSEWHERE = 1000, 2000


class Machine(RuleBasedStateMachine):
    """Processes and boots are the model's; records, locks and renames are real."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.paths = NodePaths(f"{self.directory}/node")
        self.boot = 0
        self.start = 0
        self.living: set[ProcessId] = set()
        self.model: dict[str, registry.Hold] = {}
        self.keepers: dict[str, int] = {}
        self.newer = False
        self.patches: list[Any] = [
            mock.patch.object(registry, "boot_id", side_effect=lambda: f"boot {self.boot}"),
            mock.patch.object(registry, "pid_namespace", return_value=HERE),
            mock.patch.object(ProcessId, "alive", property(lambda process: process in self.living)),
        ]
        for patch in self.patches:
            patch.start()

    def teardown(self) -> None:
        for patch in self.patches:
            patch.stop()
        for descriptor in self.keepers.values():
            os.close(descriptor)
        shutil.rmtree(self.directory)

    # -- what the world does -----------------------------------------------------------------------------------------

    def new_process(self, namespace: int) -> ProcessId:
        """Numbers are used again; start times are not."""
        self.start += 1
        process = ProcessId(100 + self.start % 3, self.start, namespace)
        self.living.add(process)
        return process

    def expected(self) -> set[str]:
        """The holds that live, by the model's own reckoning."""
        return {name for name, hold in self.model.items() if self.lives(hold)}

    def lives(self, hold: registry.Hold) -> bool:
        process = hold.script if hold.owner is None else hold.owner
        return process in self.living if process.namespace == HERE else hold.job in self.keepers

    # -- rules -------------------------------------------------------------------------------------------------------

    @initialize()
    def first(self) -> None:
        with registry.Transaction(self.paths, create=True) as table:
            table.clear()

    @rule(
        target=holds,
        job=st.sampled_from(JOBS),
        owned=st.booleans(),
        endpoint=st.booleans(),
        namespace=st.sampled_from((HERE, HERE, ELSEWHERE)),
    )
    def acquire(self, job: str, owned: bool, endpoint: bool, namespace: int) -> str:
        owner = self.new_process(namespace) if owned else None
        hold = registry.new_hold(job, owner, self.new_process(namespace), endpoint)
        try:
            with registry.Transaction(self.paths, create=True) as table:
                table.add(hold)
        except RecordNewer:
            assert self.newer
            return ""
        note(f"acquired {hold}")
        self.model[hold.id] = hold
        return hold.id

    @rule(hold=consumes(holds))
    def release(self, hold: str) -> None:
        try:
            with registry.Transaction(self.paths) as table:
                assert (hold in table) or hold not in self.expected()
                table.drop(hold)
        except RecordNewer:
            assert self.newer
            return
        self.model.pop(hold, None)

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """Any process at all, as a scheduler does. The number will be somebody else's."""
        if self.living:
            self.living.discard(data.draw(st.sampled_from(sorted(self.living))))

    @rule(job=st.sampled_from(JOBS))
    def start_keeper(self, job: str) -> None:
        if job in self.keepers:
            return
        descriptor = locks.open_file(self.paths.keeper(job))
        assert locks.try_lock(descriptor)
        self.keepers[job] = descriptor

    @rule(job=st.sampled_from(JOBS))
    def kill_keeper(self, job: str) -> None:
        if job in self.keepers:
            os.close(self.keepers.pop(job))

    @rule(job=st.none() | st.sampled_from(JOBS))
    def prune(self, job: str | None) -> None:
        try:
            with registry.Transaction(self.paths) as table:
                dropped = {hold.id for hold in table.prune(registry.lives_at(self.paths), job)}
        except RecordNewer:
            assert self.newer
            return
        dead = {name for name in self.model.keys() - self.expected() if job in (None, self.model[name].job)}
        assert dropped == dead
        for name in dead:
            del self.model[name]

    @rule()
    def reboot(self) -> None:
        self.boot += 1
        self.living.clear()
        self.model.clear()
        for job in list(self.keepers):
            self.kill_keeper(job)

    @rule(keep=st.floats(0, 1))
    def tear(self, keep: float) -> None:
        """A disk gives back a part of the file. It is set aside; what keepers remember is another test's."""
        path = Path(self.paths.registry)
        if self.newer or not path.exists():
            return
        text = path.read_bytes()
        path.write_bytes(text[: int(keep * (len(text) - 1))])
        try:
            with registry.Transaction(self.paths):
                raise AssertionError("a torn record was believed")
        except RecordBroken:
            pass
        with registry.Transaction(self.paths) as table:
            assert list(table) == []
        self.model.clear()

    @rule()
    def install_newer(self) -> None:
        """A newer version writes its own format: nobody here touches it until it is gone."""
        if not self.newer and os.path.exists(self.paths.registry):
            self.newer = True
            self.saved = Path(self.paths.registry).read_bytes()
            Path(self.paths.registry).write_text(json.dumps({"format": registry.FORMAT + 1}))

    @rule()
    def remove_newer(self) -> None:
        if self.newer:
            self.newer = False
            Path(self.paths.registry).write_bytes(self.saved)

    @rule(step=st.sampled_from(("open", "unlink", "rename")))
    def die_in_a_transaction(self, step: str) -> None:
        """While there is an old record it stands, whatever of the new one was written; from then on the new one."""
        if self.newer:
            return
        hold = registry.new_hold("a", None, self.new_process(HERE), False)
        dying = mock.patch.object(os, step, side_effect=KeyboardInterrupt)
        with registry.Transaction(self.paths, create=True) as table, dying:
            is_first = not Path(self.paths.registry).exists()
            table.add(hold)
            try:
                records.write_locked(self.paths.registry, table.as_record())
            except KeyboardInterrupt:
                table.changed = False
        if step == "rename" or (step == "unlink" and is_first):
            self.model[hold.id] = hold

    # -- what is always true -----------------------------------------------------------------------------------------

    @invariant()
    def the_count_is_that_of_the_holds_that_live(self) -> None:
        if self.newer:
            text = Path(self.paths.registry).read_text()
            assert json.loads(text) == {"format": registry.FORMAT + 1}
            return
        with registry.Transaction(self.paths) as table:
            lives = registry.lives_at(self.paths)
            assert {hold.id for hold in table if lives(hold)} == self.expected()
            for hold in table:
                assert self.model[hold.id] == hold

    @invariant()
    def the_lock_is_free(self) -> None:
        os.close(locks.take(self.paths.registry_lock, 1.0))


TestRegistry = Machine.TestCase
TestRegistry.settings = hypothesis.settings(max_examples=40, stateful_step_count=30, deadline=None)
