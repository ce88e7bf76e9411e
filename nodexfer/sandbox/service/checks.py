"""What a document must look like before anything is made of it: what is kept wrong could not be read again."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from nodexfer.sandbox.model import Endpoint
from nodexfer.sandbox.service.errors import ApiError, bad_request

LABEL_LIMIT = 128
#: Checksum algorithms that the sandbox's collections can compute.
ALGORITHMS = frozenset({"MD5", "SHA1", "SHA256", "SHA512"})

#: Fields of a transfer and of a delete that are true, false, or not there.
TRANSFER_FLAGS = (
    "verify_checksum",
    "preserve_timestamp",
    "encrypt_data",
    "skip_source_errors",
    "fail_on_quota_errors",
    "delete_destination_extra",
)
DELETE_FLAGS = ("recursive", "ignore_missing", "interpret_globs")


def invalid(name: str, value: object) -> ApiError:
    return bad_request(f"Invalid {name} '{value}'", "ClientError.BadRequest")


def text(fields: Mapping[str, Any], name: str) -> str:
    """:raises ApiError: 400: it is missing, empty, or no text."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise bad_request(f"Missing required field '{name}'", "ClientError.BadRequest")
    return value


def flags(fields: Mapping[str, Any], names: Iterable[str]) -> None:
    """:raises ApiError: 400: one is neither true nor false nor null."""
    for name in names:
        if not isinstance(fields.get(name), (bool, type(None))):
            raise invalid(name, fields[name])


def texts(fields: Mapping[str, Any], names: Iterable[str]) -> None:
    """:raises ApiError: 400: one is neither text nor null."""
    for name in names:
        if not isinstance(fields.get(name), (str, type(None))):
            raise invalid(name, fields[name])


def label(found: object) -> str | None:
    """At most 128 characters, no newline, no blanks at its ends (Transfer API, task_submit). :raises ApiError: 400"""
    if found is None:
        return None
    if not isinstance(found, str) or len(found) > LABEL_LIMIT or "\n" in found or found != found.strip():
        raise bad_request("Invalid label", "ClientError.BadRequest")
    return found or None


def items(fields: Mapping[str, Any], kind: str, paths: Iterable[str]) -> list[dict[str, Any]]:
    """The items of a transfer or delete. :raises ApiError: 400: there is none, or one lacks a path."""
    found = fields.get("DATA")
    if not found:
        word = kind.partition("_")[0]
        raise bad_request(f"A {word} requires at least one item", "ClientError.BadRequest.NoTransferItems")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise bad_request("DATA must be a list of items")
    for item in found:
        if item.get("DATA_TYPE", kind) != kind:
            raise bad_request(f"DATA_TYPE of an item must be '{kind}'")
        for name in paths:
            text(item, name)
        flags(item, ["recursive"])
        texts(item, ["external_checksum", "checksum_algorithm"])
        _algorithm(item.get("checksum_algorithm"))
    return found


def transfer_options(fields: Mapping[str, Any]) -> None:
    """:raises ApiError: 400, naming the first that is not as documented."""
    flags(fields, TRANSFER_FLAGS)
    level = fields.get("sync_level")
    if isinstance(level, bool) or level not in (None, 0, 1, 2, 3):
        raise invalid("sync_level", level)
    if fields.get("recursive_symlinks", "ignore") not in ("ignore", "copy"):
        raise bad_request("The sandbox knows 'ignore' and 'copy' for recursive_symlinks")
    rules = fields.get("filter_rules")
    if rules is not None and not (isinstance(rules, list) and all(map(_is_filter_rule, rules))):
        raise invalid("filter_rules", rules)


def no_file_onto_itself(source: Endpoint, destination: Endpoint, items: Iterable[Mapping[str, Any]]) -> None:
    """:raises ApiError: 400: writing begins with an empty file, so such an item would end its own source."""
    if source.id != destination.id:
        return
    for item in items:
        if _normal(item["source_path"]) == _normal(item["destination_path"]):
            raise bad_request(f"The source and the destination are the same: '{item['source_path']}'")


def endpoint_fields(fields: Mapping[str, Any], names: Iterable[str]) -> None:
    """:raises ApiError: 400, naming the first that is not as documented."""
    if "display_name" in fields and not str(text(fields, "display_name")).strip():
        raise invalid("display_name", fields["display_name"])
    flags(fields, (name for name in (*names, "public") if name.startswith(("disable_", "force_", "public"))))
    texts(fields, (name for name in names if not name.startswith(("disable_", "force_", "keywords"))))
    keywords = fields.get("keywords")
    if not isinstance(keywords, (str, list, type(None))):
        raise invalid("keywords", keywords)


def _algorithm(found: str | None) -> None:
    if found is not None and found.upper().replace("-", "") not in ALGORITHMS:
        raise bad_request(f"Invalid checksum_algorithm '{found}'")


def _is_filter_rule(rule: object) -> bool:
    return (
        isinstance(rule, dict)
        and rule.get("method", "exclude") in ("include", "exclude")
        and rule.get("type") in (None, "file", "dir")
        and isinstance(rule.get("name"), str)
    )


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))
