"""Writing a shipped configuration as one's own; and the words of ``[compute]``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nodexfer.cli import main
from nodexfer.config import load
from nodexfer.errors import ConfigInvalid, ConfigMissing, DestinationExists, TokenMissing
from nodexfer.integrations import block, compute_service, compute_settings, compute_setup
from nodexfer.integrations.compute_settings import Settings


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"GLOBUS_COMPUTE_USER_DIR": str(tmp_path / "gc")}


def init(environ: dict[str, str], name: str = "mine", site: str = "slurm", **options: Any) -> Path:
    return Path(compute_setup.init(site, name, options, environ))


def test_a_configuration_is_written_for_its_user_alone(environ: dict[str, str]) -> None:
    made = init(environ, worker_init="q'\"q", nodes=2, common=["site:/a"], account=None)
    assert sorted(os.listdir(made.parent)) == ["mine"]
    assert sorted(os.listdir(made)) == sorted(compute_setup.FILES)
    assert made.stat().st_mode & 0o777 == made.parent.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o600}
    lines = (made / compute_setup.TEMPLATE).read_text().splitlines()
    quoted = json.dumps(json.dumps("q'\"q"))
    assert lines[1] == "{%- set worker_init = worker_init | default(" + quoted + ") %}"
    assert lines[2:4] == [
        "{%- set nodes = nodes | default(2) %}",
        '{%- set common = common | default(["\\"site:/a\\""]) %}',
    ]
    assert compute_setup.find("mine", environ) == str(made)


def test_one_that_is_there_is_only_replaced_when_that_is_said_and_keeps_its_identity(environ: dict[str, str]) -> None:
    made = init(environ, queue="first")
    (made / "endpoint.json").write_text("id")
    with pytest.raises(DestinationExists) as caught:
        init(environ, queue="second")
    assert caught.value.next == "nodexfer compute init --overwrite --site slurm mine"
    assert "first" in (made / compute_setup.TEMPLATE).read_text()
    compute_setup.init("slurm", "mine", {"queue": "second"}, environ, overwrite=True)
    assert "second" in (made / compute_setup.TEMPLATE).read_text()
    assert (made / "endpoint.json").read_text() == "id"
    assert sorted(os.listdir(made.parent)) == ["mine"]


def test_what_a_killed_one_left_is_in_nobodys_way(environ: dict[str, str]) -> None:
    """Also where processes have the same numbers each time, as in containers."""
    beside = init(environ).parent / f".other.{os.getpid()}"
    beside.mkdir()
    assert init(environ, "other").is_dir()


@pytest.mark.parametrize("name", ["", "../x", ".x", "-x", "a/b", "a b"])
def test_a_name_that_is_no_directory_of_the_endpoints_is_refused(name: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="can not be an endpoint's name"):
        init(environ, name)
    assert not os.path.exists(environ["GLOBUS_COMPUTE_USER_DIR"])


def test_an_option_that_the_site_does_not_have_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match=r"A block at local has no account; it has: worker_init, common, "):
        init(environ, site="local", account="A")
    with pytest.raises(ConfigInvalid, match="no site 'mars'"):
        init(environ, site="mars")
    with pytest.raises(ConfigMissing, match=r"There is no .*/gc/mine/user_config_template"):
        compute_setup.find("mine", environ)


def test_the_command_writes_what_puts_this_environment_into_path(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GLOBUS_COMPUTE_USER_DIR", environ["GLOBUS_COMPUTE_USER_DIR"])
    assert main(["compute", "init", "--site", "slurm", "--account", "A", "-o", "nodes=2", "-o", "qos=7up", "mine"]) == 0
    made = Path(capsys.readouterr().out.strip())
    text = (made / compute_setup.TEMPLATE).read_text()
    for key, value in (("account", '"A"'), ("nodes", 2), ("qos", '"7up"')):
        assert f"set {key} = {key} | default({json.dumps(value)})" in text
    assert json.dumps(json.dumps(compute_setup.default_worker_init())) in text
    assert main(["compute", "init", "--site", "slurm", "-o", "nodes", "other"]) == ConfigInvalid.exit_code
    assert "'nodes' is no KEY=VALUE" in capsys.readouterr().err


# [compute] ------------------------------------------------------------------------------------------------------


def settings(tmp_path: Path, text: str, **given: Any) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    return compute_settings.read(load(home=str(tmp_path)), **given)


def test_what_is_said_on_the_command_line_comes_before_the_file(tmp_path: Path) -> None:
    text = '[compute]\nauth_method = "client_credentials"\nfunction_timeout = 60\nmax_retries = 2\n'
    text += '[compute.options]\naccount = "A"\nnodes = 2\n'
    assert settings(tmp_path, text) == Settings("client_credentials", "", 60, 2, {"account": "A", "nodes": 2})
    found = settings(tmp_path, text, auth_method="native_client", max_retries=0, options={"nodes": 3})
    assert found == Settings("native_client", "", 60, 0, {"account": "A", "nodes": 3})
    assert settings(tmp_path, "") == Settings()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            'auth_method = "password"',
            r"compute.auth_method can not be 'password'; it is one of native_client, client_cr",
        ),
        ('endpoint_id = "x"', "compute.endpoint_id can not be 'x'; it is the endpoint's UUID"),
        ("function_timeout = 0", "compute.function_timeout can not be 0; it is a number of seconds"),
        ("max_retries = 1.5", "compute.max_retries can not be 1.5"),
        ("max_retries = true", "compute.max_retries can not be True"),
        ("options = 3", "compute.options must be a table"),
        (
            "timeout = 3",
            r"compute.timeout is not known; \[compute\] may have auth_method, endpoint_id, function_timeout",
        ),
    ],
)
def test_a_value_that_can_not_be_used_is_told_with_the_file(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=said) as caught:
        settings(tmp_path, f"[compute]\n{line}\n")
    assert str(tmp_path / "config.toml") in caught.value.next


def test_compute_is_a_table_and_costs_nobody_else_anything(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[compute]\nno_such = 1\n")
    assert load(home=str(tmp_path)).compute == {"no_such": 1}
    (tmp_path / "config.toml").write_text("compute = 1\n")
    with pytest.raises(ConfigInvalid, match="compute must be a table"):
        load(home=str(tmp_path))


def test_an_applications_identity_that_is_not_set_is_told_before_anything_is_asked() -> None:
    for word in compute_settings.CREDENTIALS:
        with pytest.raises(TokenMissing, match=f"auth_method is {word}, and GLOBUS_COMPUTE_CLIENT_ID or") as caught:
            compute_service.connect(Settings(auth_method=word), {compute_service.ID: "x"})
        assert caught.value.next == compute_service.SET_CLIENT


# what is shared in a block ---------------------------------------------------------------------------------------


def test_what_is_common_is_read_as_a_shell_has_words_and_once() -> None:
    assert block.common({block.COMMON: "site:/a 'site:/b c' site:/a/ "}) == ["site:/a", "site:/b c"]
    assert block.common({}) == []


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("site:/a/b//", "site:/a/b"),
        ("site:/", "site:/"),
        ("nodexfer://site/a/", "site:/a"),
        ("nodexfer://site/", "site:/"),
        ("globus://1-2/", "globus://1-2/"),
        ("globus://1-2/x/", "globus://1-2/x"),
    ],
)
def test_the_same_source_has_one_form_whoever_names_it(url: str, plain: str) -> None:
    assert block.plain(url) == plain


@pytest.mark.parametrize(
    ("url", "name"),
    [("site:/a/b.h5", "b.h5"), ("site:/a/", "a"), ("site:/", "data"), ("globus://1-2/x/y", "y")],
)
def test_an_input_keeps_its_file_name(url: str, name: str) -> None:
    assert block.name_of(url) == name
