from __future__ import annotations

import os
import pathlib

from nodexfer.sandbox.demo import site
from nodexfer.sandbox.demo.site import MIB, OWN, SHARED


def test_the_files_are_as_large_as_told_and_the_same_for_the_same_seed(
    tmp_path: pathlib.Path, small_site: None
) -> None:
    one = site.make(str(tmp_path / "one"))
    two = site.make(str(tmp_path / "two"))
    for path, size in one.files.items():
        data = (tmp_path / "one" / path).read_bytes()
        assert len(data) == size
        assert data == (tmp_path / "two" / path).read_bytes()
    assert one.files == two.files


def test_sizes_go_from_nothing_to_64_mib_and_names_bite() -> None:
    sizes = [size for own in OWN.values() for size in own.values()]
    assert min(sizes) == 0
    assert max(sizes) == 64 * MIB
    names = " ".join(name for own in OWN.values() for name in own)
    assert all(bite in names for bite in (" ", "%", ",", "[", "]", "\t", "\\", "'", '"', "*", "$", "Ü", "日"))
    assert any(name.startswith("-") for own in OWN.values() for name in own)


def test_every_job_takes_the_shared_input_and_its_own(tmp_path: pathlib.Path) -> None:
    own = {f"runs/{number}/{name}": size for number, files in OWN.items() for name, size in files.items()}
    made = site.Site(str(tmp_path), {SHARED: 1, **own})
    for number in OWN:
        inputs = made.inputs(number)
        assert inputs["reference.bin"] == SHARED
        assert len(inputs) == 1 + len(OWN[number])
        assert all(path.startswith((f"runs/{number}/", "shared/")) for path in inputs.values())
    assert os.listdir(tmp_path) == []
