"""What was typed as ``site:`` is called site in an error."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nodexfer.config import load
from nodexfer.errors import SourceMissing
from nodexfer.staging import naming
from nodexfer.staging.location import parse_remote

ONE, TWO = "11111111-1111-4111-8111-aaaaaaaaaaaa", "22222222-2222-4222-8222-222222222222"


def test_a_collection_is_called_what_was_typed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[collections.site]\nid = "{ONE}"\n[collections.globus-home]\nid = "{TWO}"')
    config = load({}, home=str(tmp_path))
    typed = ["site:/a", f"{ONE.upper()}:/b", f"globus://{TWO}/c"]
    remotes = [parse_remote(text, config, "source") for text in typed]
    assert naming.names(remotes) == {ONE: "site"}
    assert naming.names(remotes[1:]) == {}
    assert naming.names([parse_remote("globus-home:/", config, "source")]) == {TWO: "globus-home"}


def test_the_next_command_keeps_what_globus_understands() -> None:
    with pytest.raises(SourceMissing) as raised, naming.typed({ONE: "site"}):
        raise SourceMissing(f"/a does not exist on collection {ONE}, but on {TWO}.", f"globus ls {ONE}:/")
    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        assert str(error) == error.args[0] == f"/a does not exist on collection site, but on {TWO}."
        assert error.next == f"globus ls {ONE}:/"
