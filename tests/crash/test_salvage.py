"""Deaths while outputs are saved at the end of the walltime, and while they are resumed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nodexfer.staging import journal, salvage_record
from nodexfer.staging.receipt import read as read_receipt
from tests.crash.lab import Census, End, Lab, at
from tests.crash.link import linked
from tests.crash.scene import NEW, contents, each_death, write
from tests.support.place import Place

pytestmark = pytest.mark.slow

#: The site's own collection: it shows the home as /users/me.
HOME = "55555555-5555-4555-8555-555555555555"
PAIRS = {"a": "site:/a", "set": "site:/set"}


class Saved:
    """A place whose home a collection shows, with outputs."""

    def __init__(self, top: Path, lab: Lab) -> None:
        top.mkdir()
        self.place = Place(top)
        self.lab = lab
        with (top / "home/config.toml").open("a") as file:
            file.write(f'[collections.home]\nid = "{HOME}"\nroot_path = "/users/me"\nlocal_path = "{top}/home"\n')
        (top / "users").mkdir()
        (top / "users/me").symlink_to(top / "home")
        self.place.globus.collections[HOME] = str(top)
        write(self.place.node, NEW)

    def run(self, operation: str, die_at: int = 0, **arguments: Any) -> End:
        tops = (self.place.top / "home", self.place.node)
        return self.lab.run(operation, die_at=die_at, tops=tops, environ=self.place.environ, **arguments)

    def save(self, die_at: int = 0) -> End:
        return self.run("save", die_at, base=str(self.place.node), pairs=PAIRS)

    def resume(self, die_at: int = 0) -> End:
        socket = str(self.place.top / "s")
        with linked(self.place.globus, socket):
            return self.run("resume", die_at, socket=socket)

    def journaled(self) -> set[str]:
        """What the salvages on disk say that they have, by name."""
        found = salvage_record.directories(self.place.config.home_paths)
        copies = [copy for directory in found for copy in journal.read(directory)]
        return {os.path.relpath(copy.source, self.place.node) for copy in copies}

    def receipts(self) -> list[str]:
        paths = (self.place.top / "home/receipts").rglob("r*.json")
        return sorted(str(receipt and receipt.state) for receipt in map(read_receipt, map(str, paths)))

    def see_nothing_left(self) -> None:
        assert salvage_record.directories(self.place.config.home_paths) == []
        assert [path for path in self.place.site.rglob("*") if path.name.startswith(".nodexfer")] == []
        for unborn in (self.place.top / "home/salvage").rglob(".new-*"):  # as an hour later
            os.utime(unborn, (1, 1))
        assert self.resume().said == []
        assert not (self.place.top / "home/salvage").exists()


def arrived(site: Path) -> dict[str, bytes]:
    """Also what had to go under a name that says that it is not whole."""
    found = contents(site)
    partial = site / "set.partial"
    found |= {f"set/{path.relative_to(partial)}": path.read_bytes() for path in partial.rglob("*") if path.is_file()}
    return found


@pytest.mark.points(30)
def test_what_was_saved_before_a_death_arrives(lab: Lab, census: Census, tmp_path: Path) -> None:
    def die_at(number: int) -> End:
        saved = Saved(tmp_path / str(number), lab)
        end = saved.save(number)
        with at(number, end):
            kept = saved.journaled()
            ends = saved.resume().said
            assert ends in ([], ["nothing"], ["done"])
            assert (ends == ["done"]) or not kept
            found = arrived(saved.place.site)
            assert kept <= found.keys()
            assert {name: NEW[name] for name in found} == found
            assert (saved.place.site / "set").exists() <= (len(found.keys() - {"a"}) == 3)
            assert contents(saved.place.node) == NEW
            if not end.died:
                assert found == NEW
            assert saved.receipts() == (["done"] if ends == ["done"] else [])
            saved.see_nothing_left()
        return end

    each_death(census, "salvage", die_at)


@pytest.mark.points(30)
def test_a_resume_that_dies_is_gone_on_with(lab: Lab, census: Census, tmp_path: Path) -> None:
    def die_at(number: int) -> End:
        saved = Saved(tmp_path / str(number), lab)
        saved.save()
        end = saved.resume(number)
        with at(number, end):
            if end.died:
                saved.resume()
            assert contents(saved.place.site) == NEW
            transfers = [job for job in saved.place.globus.jobs.values() if job.submission.source_endpoint == HOME]
            assert len(transfers) == 1
            assert saved.receipts() == ["done"]
            saved.see_nothing_left()
        return end

    each_death(census, "resume", die_at)
