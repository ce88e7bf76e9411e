"""The proof finds every kind of wrong: it is worth nothing if it can not fail."""

from __future__ import annotations

import json
import os
import pathlib
import shutil

import pytest

from nodexfer.sandbox.demo import site as sites
from nodexfer.sandbox.demo.program import compute
from nodexfer.sandbox.demo.proof import Proof, prove
from nodexfer.sandbox.demo.site import Site

NUMBER = 4


@pytest.fixture
def played(tmp_path: pathlib.Path, small_site: None) -> tuple[Site, pathlib.Path]:
    """Job 4 has run, and ``cp`` was the transfer."""
    site = sites.make(str(tmp_path / "site"))
    scratch = tmp_path / "scratch"
    for name, path in site.inputs(NUMBER).items():
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f"{site.root}/{path}", scratch / name)
    witness = tmp_path / "witness"
    witness.write_text(json.dumps(compute(str(scratch))))
    shutil.copytree(scratch / "results", f"{site.root}/results/{NUMBER}")
    return site, witness


def proof(played: tuple[Site, pathlib.Path]) -> Proof:
    return prove(played[0], NUMBER, str(played[1]))


def test_what_was_moved_whole_is_proven(played: tuple[Site, pathlib.Path]) -> None:
    found = proof(played)
    assert found.ok
    assert found.files_in == len(sites.OWN[NUMBER]) + 1
    assert found.files_out == len(sites.OWN[NUMBER]) + 1
    assert found.bytes_in == sum(played[0].files[path] for path in played[0].inputs(NUMBER).values())


@pytest.mark.parametrize("name", ["turned/--help", "checksums.json"])
def test_one_byte_of_a_result_is_missed(played: tuple[Site, pathlib.Path], name: str) -> None:
    path = pathlib.Path(played[0].root, "results", str(NUMBER), name)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert proof(played).mismatches == (f"results/{NUMBER}/{name}: other bytes arrived",)


def test_a_result_that_did_not_arrive_is_missed(played: tuple[Site, pathlib.Path]) -> None:
    os.unlink(f"{played[0].root}/results/{NUMBER}/turned/back\\slash.log")
    assert proof(played).mismatches == (f"results/{NUMBER}/turned/back\\slash.log: did not arrive",)


def test_a_file_too_many_is_seen(played: tuple[Site, pathlib.Path]) -> None:
    pathlib.Path(played[0].root, "results", str(NUMBER), "stranger").touch()
    assert proof(played).mismatches == (f"results/{NUMBER}/stranger: nobody wrote this",)


def test_an_input_that_arrived_wrong_is_seen_though_nodexfer_said_nothing(
    played: tuple[Site, pathlib.Path],
) -> None:
    pathlib.Path(played[0].root, sites.SHARED).write_bytes(b"not what the job saw")
    assert proof(played).mismatches == (f"{sites.SHARED}: the job saw other bytes",)


def test_a_program_that_computed_on_other_bytes_is_seen(played: tuple[Site, pathlib.Path]) -> None:
    """The job's word alone is not believed: its output is compared with the site's input."""
    seen = json.loads(played[1].read_text())
    name = "turned/--help"
    forged = pathlib.Path(played[0].root, "results", str(NUMBER), name)
    forged.write_bytes(b"forged")
    from nodexfer.sandbox.demo.program import checksum

    seen["outputs"][name] = checksum(str(forged))
    played[1].write_text(json.dumps(seen))
    assert proof(played).mismatches == (f"results/{NUMBER}/{name}: is not its input back to front",)


def test_a_job_without_a_witness_proves_nothing(played: tuple[Site, pathlib.Path]) -> None:
    played[1].unlink()
    assert not proof(played).ok
    assert proof(played).mismatches
