"""install: the configured program, else PATH, else the newest in the home directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.errors import GcpMissing
from nodexfer.gcp import install


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o700)
    return path


def find(**environ: str) -> install.Program:
    return install.find(load(environ), environ)


def test_the_configured_program_comes_first_and_its_link_is_followed_to_its_parts(tmp_path: Path) -> None:
    real = program(tmp_path / "globusconnectpersonal-3.2.8/globusconnectpersonal")
    link = tmp_path / "bin/gcp"
    link.parent.mkdir()
    link.symlink_to(real)
    found = find(HOME=str(tmp_path), NODEXFER_GCP=str(link))
    assert found == (str(link), str(real.parent))


def test_a_configured_program_that_is_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    program(tmp_path / "globusconnectpersonal-3.2.8/globusconnectpersonal")
    with pytest.raises(GcpMissing, match="NODEXFER_GCP"):
        find(HOME=str(tmp_path), NODEXFER_GCP=str(tmp_path / "none"))


def test_the_path_comes_before_the_home_directory(tmp_path: Path) -> None:
    program(tmp_path / "globusconnectpersonal-3.2.8/globusconnectpersonal")
    first = program(tmp_path / "bin/globusconnectpersonal")
    assert find(HOME=str(tmp_path), PATH=f":relative:{tmp_path}/bin").path == str(first)


def test_the_newest_version_in_the_home_directory_is_taken(tmp_path: Path) -> None:
    for version in ("2.3.5", "3.2.10", "3.2.8"):
        program(tmp_path / f"globusconnectpersonal-{version}/globusconnectpersonal")
    (tmp_path / "globusconnectpersonal-9.0.0.tgz").touch()
    assert find(HOME=str(tmp_path), PATH="").install_dir.endswith("-3.2.10")


def test_none_at_all_names_the_next_command(tmp_path: Path) -> None:
    with pytest.raises(GcpMissing, match="not found") as caught:
        find(HOME=str(tmp_path), PATH="")
    assert caught.value.next.startswith("export NODEXFER_GCP=")
