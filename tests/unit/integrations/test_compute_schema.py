"""What an option may be is looked at when it is written down, and as the endpoint would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nodexfer.cli import main
from nodexfer.errors import ConfigInvalid
from nodexfer.integrations import compute_schema, compute_setup
from nodexfer.integrations.sites import SITES

ACCOUNT = "^[A-Za-z0-9][A-Za-z0-9_.@+:-]*$"


def schema(site: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(compute_setup.shipped(site), compute_setup.SCHEMA).read_text())
    return found


@pytest.mark.parametrize(
    ("site", "key", "value", "why"),
    [
        ("aurora", "account", "a b", f"'a b': it does not match {ACCOUNT}"),
        ("slurm", "queue", "x\n#SBATCH", rf"'x\n#SBATCH': it does not match {ACCOUNT}"),
        ("slurm", "walltime", "1h", "'1h': it does not match ^[0-9]{1,3}:[0-5][0-9]:[0-5][0-9]$"),
        ("slurm", "account", 7, "7: a text is wanted"),
        ("pbs", "nodes", "two", "'two': a whole number is wanted"),
        ("pbs", "nodes", True, "True: a whole number is wanted"),
        ("pbs", "nodes", 1.5, "1.5: a whole number is wanted"),
        ("pbs", "nodes", 0, "0: it is 1 at least"),
        ("local", "common", "site:/a", "'site:/a': a list is wanted"),
        ("local", "common", ["site:/a", "$x"], "['site:/a', '$x']: of each in it, it does not match ^["),
        ("local", "max_idletime", -1, "-1: it is 0 at least"),
    ],
)
def test_a_value_that_the_schema_refuses_is_refused_and_nothing_is_written(
    site: str, key: str, value: object, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigInvalid, match=re.escape(f"{key} of a block at {site} can not be {why}")) as caught:
        compute_setup.init(site, "mine", {key: value}, {"GLOBUS_COMPUTE_USER_DIR": str(tmp_path / "gc")})
    assert caught.value.next == "nodexfer compute init --help"
    assert not (tmp_path / "gc").exists()


def test_the_command_refuses_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", str(tmp_path / "gc"))
    assert main(["compute", "init", "--site", "slurm", "--account", "a;b", "mine"]) == ConfigInvalid.exit_code
    assert f"account of a block at slurm can not be 'a;b': it does not match {ACCOUNT}." in capsys.readouterr().err


@pytest.mark.parametrize("site", SITES)
def test_shipped_schemas_say_nothing_that_is_not_looked_at(site: str) -> None:
    options = [*schema(site)["properties"].values()]
    options += [option["items"] for option in options if "items" in option]
    for option in options:
        assert option.keys() <= compute_schema.KEYWORDS, option


@pytest.mark.parametrize("site", SITES)
def test_the_verdict_is_that_of_jsonschema(site: str) -> None:
    """Of every option, for values of every kind."""
    jsonschema = pytest.importorskip("jsonschema")
    values = ["a", "A1.b", "01:00:00", "home:flare", "gpu&hbm80g", "", "a b", "$(x)", 0, 1, -1, 2.0, 2.5, True]
    values += [None, [], ["site:/a"], ["a b"], [1], {}]
    seen = set()
    for option in schema(site)["properties"].values():
        for value in values:
            good = jsonschema.Draft202012Validator(option).is_valid(value)
            assert (compute_schema.wrong(value, option) == "") is good, (option, value)
            seen.add(good)
    assert seen == {True, False}
