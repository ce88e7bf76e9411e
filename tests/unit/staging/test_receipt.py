"""Receipts are written whole or not at all, and what a death leaves of one goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from nodexfer.paths import HomePaths
from nodexfer.staging import receipt
from nodexfer.staging.receipt import Receipt


def test_what_a_writer_that_died_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    unborn = tmp_path / "receipts/.new"
    unborn.mkdir(parents=True)
    for name, age in ((".tmp-1-1", 7200.0), (".tmp-2-2", 10.0)):
        (unborn / name).write_text("{")
        os.utime(unborn / name, (time.time() - age, time.time() - age))
    asked = Receipt(id="r1", direction="in", job="j", host="h", created=time.time())
    written = receipt.write(HomePaths(str(tmp_path)), asked)
    assert receipt.read(written.path) == written
    assert os.listdir(unborn) == [".tmp-2-2"]
