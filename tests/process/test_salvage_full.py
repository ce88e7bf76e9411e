"""Salvage onto a file system that is really full: a tmpfs of a few megabytes, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from nodexfer import procs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root and unshare(1)"),
]

SAVE = """
import json, os, sys, time
from nodexfer.config import load
from nodexfer.errors import HomeFull
from nodexfer.scheduler import Job
from nodexfer.staging import journal, salvage, salvage_record
from nodexfer.staging.archive import newest
from nodexfer.staging.client import Client
from nodexfer.staging.location import Remote
from nodexfer.staging.plan import Send
source, home, mine = sys.argv[1:]
config = load({"HOME": home, "NODEXFER_HOME": home}, node_dir=f"{home}/node")
remote = Remote("22222222-2222-4222-8222-222222222222", "/out", False, "site:/out")
said = None
try:
    salvage.save(Client(config, Job("local", "h", "1", 0), time.time() + 60, {}), [Send(source, remote, False)],
                 deadline=time.time() + 60)
except HomeFull as error:
    said = error.as_record()
directories = salvage_record.directories(config.home_paths)
copies = journal.read(directories[0]) if directories else []
for copy in copies:
    assert open(copy.place(directories[0]), "rb").read() == open(copy.source, "rb").read(), copy
there = [name for directory in directories for where, _, names in os.walk(directory) for name in names]
print(json.dumps({"said": said, "saved": [c.size for c in copies], "there": there,
                  "receipts": [r.as_record() for r in newest(config.home_paths)]}))
"""


def save(tmp_path: Path, sizes: list[int], options: str) -> dict[str, Any]:
    source, home = tmp_path / "out", tmp_path / "home"
    source.mkdir()
    home.mkdir(mode=0o700)
    for number, size in enumerate(sizes):
        (source / f"f{number}").write_bytes(os.urandom(size))
    inside = f'mount -t tmpfs -o {options} none "$1" && exec "$0" -c "$2" "$3" "$1" x'
    argv = ["unshare", "--mount", "sh", "-c", inside, sys.executable, str(home), SAVE, str(source)]
    done = procs.run(argv, timeout=60, environ={**os.environ, "PYTHONPATH": str(Path.cwd())})
    assert done.code == 0, done
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_a_file_system_that_is_too_small_keeps_what_fits_and_the_last_word(tmp_path: Path) -> None:
    sizes = [1_500_000, 100_000, 3_000_000, 900_000, 50_000, 20_000_000]
    found = save(tmp_path, sizes, "size=4m")
    assert found["said"]["error"] == "HomeFull"
    assert sum(found["saved"]) >= 1_500_000 + 100_000 + 900_000 + 50_000
    (receipt,) = found["receipts"]
    assert receipt["state"] == "salvaged"
    assert sorted(file["size"] for file in receipt["files"]) == sorted(found["saved"])
    assert len(receipt["files"]) + len(receipt["unsaved"]) == len(sizes)
    assert len(found["there"]) == len(found["saved"]) + len(("salvage.json", "journal", "lock"))


def test_many_small_files_on_a_file_system_with_few_inodes(tmp_path: Path) -> None:
    found = save(tmp_path, [100] * 60, "size=8m,nr_inodes=40")
    assert found["said"]["error"] == "HomeFull"
    assert len(found["saved"]) > 15
    assert len(found["receipts"]) == 1


@pytest.mark.parametrize("options", ["size=4k", "size=64k", "size=1m,nr_inodes=4"])
def test_where_nothing_fits_that_is_what_is_said(tmp_path: Path, options: str) -> None:
    found = save(tmp_path, [1_200_000, 1_300_000], options)
    assert found["said"]["error"] == "HomeFull"
    assert "nothing was saved" in found["said"]["message"]
    assert (found["saved"], found["there"], found["receipts"]) == ([], [], [])
