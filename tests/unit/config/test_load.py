"""The settings: one precedence, sources told, nothing wrong accepted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from nodexfer.config import CollectionConfig, Config, load
from nodexfer.errors import CollectionUnknown, ConfigInvalid, ConfigMissing

UUID = "1f3a5b7c-0000-4000-8000-0123456789ab"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path)}


def write_file(environ: dict[str, str], text: str) -> str:
    home = Path(environ["HOME"], ".nodexfer")
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text)
    return str(home / "config.toml")


def test_an_empty_environment_gives_the_documented_defaults(environ: dict[str, str]) -> None:
    config = load(environ)
    assert config.home == f"{environ['HOME']}/.nodexfer"
    assert config.node_dir == f"/tmp/nodexfer-{os.geteuid()}"
    assert config.roots == ("/tmp",)
    assert (config.pool, config.linger, config.lease, config.service_timeout) == ("default", 300.0, 300.0, 30.0)
    assert (config.gcp, config.gcp_prefix, config.gcp_environment) == (None, (), ())
    assert config.gcp_address == "/org/globusonline/globusconnect"
    assert config.collections == {}
    assert config.source("pool") == "default"
    assert not os.path.exists(config.home), "reading the settings must write nothing"


def test_an_argument_beats_the_environment_beats_the_file_beats_the_default(environ: dict[str, str]) -> None:
    file = write_file(environ, "pool = 'of-file'\nlinger = 1\nlease = 2.5\n")
    environ |= {"NODEXFER_POOL": "of-environment", "NODEXFER_LINGER": "3"}
    config = load(environ, pool="of-argument", linger=None)
    assert (config.pool, config.source("pool")) == ("of-argument", "argument")
    assert (config.linger, config.source("linger")) == (3.0, "environment variable NODEXFER_LINGER")
    assert (config.lease, config.source("lease")) == (2.5, file)
    assert config.source("service_timeout") == "default"


def test_an_empty_variable_counts_as_not_set(environ: dict[str, str]) -> None:
    assert load(environ | {"NODEXFER_POOL": "", "NODEXFER_CONFIG": ""}).pool == "default"


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("roots", "/tmp:/dev", ("/tmp", "/dev")),
        ("gcp", "~/gcp/run", "{home}/gcp/run"),
        ("gcp_prefix", "proxychains4 -f 'a b'", ("proxychains4", "-f", "a b")),
        ("gcp_environment", "http_proxy LD_PRELOAD", ("http_proxy", "LD_PRELOAD")),
        ("lease", "12.5", 12.5),
    ],
)
def test_a_variable_is_read_in_the_form_of_its_key(environ: dict[str, str], key: str, text: str, value: object) -> None:
    config = load(environ | {f"NODEXFER_{key.upper()}": text})
    wanted = value.format(home=environ["HOME"]) if isinstance(value, str) else value
    assert getattr(config, key) == wanted


def test_collections_are_read_with_their_defaults(environ: dict[str, str], tmp_path: Path) -> None:
    write_file(
        environ,
        f"[collections.site]\nid = '{UUID.upper()}'\n"
        f"[collections.full]\nid = '{UUID}'\nroot_path = '/a b/'\nlocal_path = '~/x'\n",
    )
    config = load(environ)
    assert config.collection("site") == CollectionConfig(UUID, "/", None)
    assert config.collection("full") == CollectionConfig(UUID, "/a b/", f"{tmp_path}/x")


def test_a_collection_without_any_file_is_a_missing_configuration(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigMissing, match=r"no such file.*\[collections\.site\]") as caught:
        load(environ).collection("site")
    assert "config.toml" in caught.value.next


def test_an_unknown_collection_is_told_with_the_known_ones(environ: dict[str, str]) -> None:
    write_file(environ, f"[collections.b]\nid = '{UUID}'\n[collections.a]\nid = '{UUID}'\n")
    with pytest.raises(CollectionUnknown, match="it names: a, b"):
        load(environ).collection("site")


def test_a_file_that_the_environment_names_must_be_there(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigMissing, match=r"/nowhere/c\.toml"):
        load(environ | {"NODEXFER_CONFIG": "/nowhere/c.toml"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pol = 'x'", "pol is not known; the file may have node_dir, roots, pool"),
        ("home = '/x'", "home says where this very file is"),
        ("linger = '5'", "linger must be a number of seconds"),
        ("linger = true", "linger must be a number of seconds"),
        ("lease = 0", "lease must be a number of seconds above 0"),
        ("silence = 2.9", "silence must be a number of seconds, 3 or more"),
        ("linger = nan", "linger must be a number of seconds"),
        ("roots = '/tmp'", "roots must be a list"),
        ("roots = []", "roots must name at least one"),
        ("roots = ['/a,b']", "roots must be a path without blanks"),
        ("node_dir = 'relative'", "node_dir must be an absolute path"),
        ("node_dir = '/'", "node_dir must be a directory of its own"),
        ("pool = 'a/b'", "pool must be a name"),
        ("collections = 1", "collections must be tables"),
        ("[collections.a]\n", "collections.a must have id"),
        (f"[collections.a]\nid = '{UUID}'\nx = 1", "collections.a must have id"),
        ("[collections.a]\nid = 'x'", "collections.a.id must be the collection's UUID"),
        (f"[collections.a]\nid = '{UUID}'\nroot_path = 'x'", "collections.a.root_path must be a path"),
        (f"[collections.a]\nid = '{UUID}'\nlocal_path = 'x'", "collections.a.local_path must be an absolute"),
        (f"[collections.globus]\nid = '{UUID}'", "not 'globus'"),
        ("[[", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_file_key_and_what_is_allowed(
    environ: dict[str, str], text: str, says: str
) -> None:
    file = write_file(environ, text)
    with pytest.raises(ConfigInvalid) as caught:
        load(environ)
    assert file in str(caught.value)
    assert says in str(caught.value)
    assert file in caught.value.next


def test_a_file_that_is_not_utf_8_is_invalid(environ: dict[str, str]) -> None:
    Path(write_file(environ, "")).write_bytes(b"pool = '\xff'")
    with pytest.raises(ConfigInvalid, match="is not TOML"):
        load(environ)


def test_a_file_that_can_not_be_read_is_invalid(environ: dict[str, str]) -> None:
    Path(environ["HOME"], ".nodexfer", "config.toml").mkdir(parents=True)
    with pytest.raises(ConfigInvalid, match="can not be read: Is a directory"):
        load(environ)


@pytest.mark.parametrize("character", list(",*?[]{}~\\%\t \x07"))
def test_a_node_dir_that_gcp_can_not_say_is_refused(environ: dict[str, str], character: str) -> None:
    with pytest.raises(ConfigInvalid, match="NODEXFER_NODE_DIR must be") as caught:
        load(environ | {"NODEXFER_NODE_DIR": f"/tmp/a{character}b"})
    assert caught.value.next == "unset NODEXFER_NODE_DIR"


def test_a_variable_with_an_open_quotation_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigInvalid, match="NODEXFER_GCP_PREFIX"):
        load(environ | {"NODEXFER_GCP_PREFIX": "a 'b"})


def test_links_are_resolved_but_for_the_node_dir_itself(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "trap").symlink_to("inner")
    config = load(environ, node_dir=tmp_path / "link" / "trap", roots=[tmp_path / "link"])
    assert config.node_dir == f"{tmp_path}/real/trap"
    assert config.roots == (f"{tmp_path}/real",)


def test_tmpdir_is_a_root_only_where_it_adds_one(environ: dict[str, str], tmp_path: Path) -> None:
    node_dir = str(tmp_path / "n" / "d")
    (tmp_path / "n" / "below").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "pbs.1[3].server").mkdir()

    def roots(tmpdir: object) -> tuple[str, ...]:
        return load(environ | {"TMPDIR": str(tmpdir)}, node_dir=node_dir).roots

    first = f"{tmp_path}/n"
    assert roots(tmp_path / "other") == (first, f"{tmp_path}/other")
    for adds_nothing in (first, tmp_path / "n" / "below", tmp_path / "none", "relative", tmp_path / "pbs.1[3].server"):
        assert roots(adds_nothing) == (first,), adds_nothing


def test_an_unknown_argument_is_the_callers_mistake(environ: dict[str, str]) -> None:
    with pytest.raises(TypeError, match="there is no setting pol"):
        load(environ, pol="x")


@pytest.mark.parametrize(
    "overrides",
    [
        {"home": "/h", "node_dir": "/tmp/x", "roots": ["/tmp", "/dev"], "pool": "p"},
        {"linger": 0, "lease": 0.25, "gcp": "/g", "gcp_prefix": ["a b", "c"], "service_timeout": 1, "via_after": 0},
    ],
)
def test_the_environment_of_a_child_gives_the_child_the_same_settings(
    environ: dict[str, str], overrides: dict[str, Any]
) -> None:
    config = load(environ, **overrides)
    again = load(environ | config.environment())
    assert settings(again) == settings(config)
    assert load(environ).environment() == {}


def settings(config: Config) -> dict[str, object]:
    return {key: value for key, value in vars(config).items() if key != "_sources"}
