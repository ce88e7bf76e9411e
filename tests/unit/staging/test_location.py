"""location: what a user types, taken literally."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodexfer.config import Config, load
from nodexfer.errors import CollectionUnknown, ConfigMissing, UrlMalformed
from nodexfer.staging.location import Local, Remote, parse, parse_local, parse_remote

UUID = "22222222-2222-4222-8222-2222222222aa"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.toml").write_text(f'[collections.site]\nid = "{UUID}"\nroot_path = "/proj/x"\n')
    return load({"HOME": str(tmp_path), "NODEXFER_HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("site:/", "/proj/x"),
        ("site:/a", "/proj/x/a"),
        ("site:/a//b/./c", "/proj/x/a/b/c"),
        ("site:/100%25 ü,[x]{y}", "/proj/x/100%25 ü,[x]{y}"),
        ("site:/-dash", "/proj/x/-dash"),
        ("site:/new\nline", "/proj/x/new\nline"),
        ("site:/a:b=c", "/proj/x/a:b=c"),
        (f"globus://{UUID}/a b", "/a b"),
        (f"globus://{UUID.upper()}/a", "/a"),
        (f"{UUID}:/a", "/a"),
        (f"globus://{UUID}/~/a", "/~/a"),
    ],
)
def test_a_collections_path_is_taken_literally_below_its_root(config: Config, text: str, path: str) -> None:
    found = parse(text, config, "/base")
    assert isinstance(found, Remote)
    assert (found.collection, found.path) == (UUID, path)


@pytest.mark.parametrize("text", ["site:/a/", "site:/a/.", f"globus://{UUID}/"])
def test_a_trailing_slash_is_kept_in_mind(config: Config, text: str) -> None:
    found = parse(text, config, "/base")
    assert found.is_directory


@pytest.mark.parametrize(
    ("text", "path"),
    [("a", "/base/a"), ("/a/../b", "/b"), ("./site:/a", "/base/site:/a"), ("-x", "/base/-x"), ("a%20", "/base/a%20")],
)
def test_everything_else_is_a_path_of_this_node(config: Config, text: str, path: str) -> None:
    found = parse(text, config, "/base")
    assert isinstance(found, Local)
    assert found.path == path


@pytest.mark.parametrize(
    "text", ["", "a\0b", "http://x/y", "globus://nouuid/x", f"globus://{UUID}", "site:a", "site:/../a"]
)
def test_half_a_location_is_refused_and_named(config: Config, text: str) -> None:
    with pytest.raises(UrlMalformed):
        parse(text, config, "/base")


def test_an_unknown_name_and_a_missing_file_are_told_apart(config: Config, tmp_path: Path) -> None:
    with pytest.raises(CollectionUnknown, match="site"):
        parse("sight:/a", config, "/")
    with pytest.raises(ConfigMissing, match=r"config\.toml"):
        parse("site:/a", load({"HOME": str(tmp_path / "nobody")}), "/")


def test_the_wrong_side_is_refused(config: Config) -> None:
    with pytest.raises(UrlMalformed, match="destination"):
        parse_local("site:/a", config, "/", "destination")
    with pytest.raises(UrlMalformed, match="source"):
        parse_remote("/a", config, "source")


@pytest.mark.parametrize(
    ("text", "name"), [("site:/a/b/", "b"), (f"globus://{UUID}/", ""), (f"globus://{UUID}/~/", "")]
)
def test_the_name_to_take_along(config: Config, text: str, name: str) -> None:
    assert parse_remote(text, config, "source").name == name
