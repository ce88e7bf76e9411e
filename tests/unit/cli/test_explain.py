"""explain: every code that can be met is explained, in 80 columns or as data."""

from __future__ import annotations

import json

import pytest

from nodexfer.cli import main
from nodexfer.cli.meanings import MEANINGS
from nodexfer.globus.codes import ANSWERS
from nodexfer.globus.events import CODES


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("code", [*CODES, *ANSWERS, *MEANINGS, "2"])
def test_everything_that_can_be_met_is_explained_in_80_columns(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, code)
    assert "cause" in text
    assert "next" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_list_fits_80_columns_and_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert {*CODES, *ANSWERS, *MEANINGS} <= set(text.split())


def test_a_code_says_what_happens_and_where_that_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    text = explained(capsys, "quota_exceeded")
    assert "DiskFull, exit code 52" in text
    assert "globus task event-list TASK" in text
    assert "docs.globus.org/faq" in text


@pytest.mark.parametrize("code", ["33", "PoolExhausted", "poolexhausted"])
def test_an_exit_code_is_explained_as_its_error(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    record = json.loads(explained(capsys, code, "--json"))
    assert (record["error"], record["exit_code"], record["next"]) == ("PoolExhausted", 33, "nodexfer pool list")


@pytest.mark.parametrize("code", ["ExternalError.DirListingFailed.GCDisconnected", "gcdisconnected"])
def test_a_refusal_is_known_by_a_part_of_its_code(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "EndpointFailed, exit code 36" in explained(capsys, code)


def test_an_error_names_the_codes_that_end_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "NO_SPACE_LEFT" in explained(capsys, "DiskFull")


def test_all_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(explained(capsys, "--json"))
    assert [row["code"] for row in found["codes"]] == [*CODES, *ANSWERS]
    assert [row["error"] for row in found["errors"]] == list(MEANINGS)


def test_what_is_nearly_a_code_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "PoolExausted"]) == 2
    assert "Did you mean PoolExhausted?" in capsys.readouterr().err
