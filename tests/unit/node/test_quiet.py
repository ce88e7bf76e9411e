"""quiet: a hold that went with its place is given back; one that was not given back is said."""

from __future__ import annotations

import os
import shutil

import pytest

from nodexfer import procs
from nodexfer.errors import HoldUnknown
from nodexfer.node import hold, quiet, registry
from tests.support.holding import job, place
from tests.support.waiting import eventually


def test_a_hold_is_given_back_and_nobody_is_told_that_its_place_has_gone() -> None:
    config = place()
    taken = hold.take(config, job(), procs.this())
    quiet.release(config, taken.id)
    assert registry.living(config.node_paths) == []
    shutil.rmtree(config.node_dir)
    quiet.release(config, taken.id)
    assert not os.path.lexists(config.node_dir)


def test_a_hold_that_is_not_given_back_though_the_place_is_there_is_said() -> None:
    config = place()
    taken = hold.take(config, job(), procs.this())
    with pytest.raises(HoldUnknown):
        quiet.release(config, "another")
    assert hold.release(config, taken.id)
    eventually(lambda: not os.path.exists(config.node_paths.keeper(job().key)))
