"""The error tree: every class crosses processes, and no two share an exit code."""

from __future__ import annotations

import copy
import pickle
import sys
import traceback

import pytest

from nodexfer import errors
from nodexfer.errors import NodexferError, SourceMissing, all_errors, from_record

ALL = sorted(all_errors().values(), key=lambda cls: cls.__name__)
NAMED = [cls for cls in ALL if not cls.__subclasses__()]
BUILTINS = {
    "SourceMissing": FileNotFoundError,
    "OutputMissing": FileNotFoundError,
    "DestinationExists": FileExistsError,
    "PermissionRefused": PermissionError,
    "ServiceUnreachable": ConnectionError,
    "DeadlinePassed": TimeoutError,
    "UrlMalformed": ValueError,
    "PoolExhausted": RuntimeError,
}
RANGES = {
    "SetupError": 10,
    "DataError": 20,
    "EndpointError": 30,
    "ServiceError": 40,
    "NodeError": 50,
    "TransferError": 60,
}


@pytest.mark.parametrize("cls", ALL)
def test_every_error_survives_pickling_copying_and_its_record(cls: type[NodexferError]) -> None:
    error = cls("It went wrong.", "type this")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), from_record(error.as_record())):
        assert type(again) is cls
        assert (str(again), again.next) == ("It went wrong.", "type this")


@pytest.mark.parametrize("cls", ALL)
def test_every_error_is_its_sentence_whatever_builtin_it_derives_from(cls: type[NodexferError]) -> None:
    error = cls("It went wrong.")
    assert (str(error), error.args, error.next) == ("It went wrong.", ("It went wrong.",), cls.default_next)
    assert getattr(error, "errno", None) is None, "OSError must not take the sentence for a number"
    assert cls("x", "").next == "", "an empty next command is a choice, not an omission"


def test_every_named_error_has_an_exit_code_of_its_own_in_its_familys_range() -> None:
    codes = {cls.exit_code: cls for cls in NAMED}
    assert len(codes) == len(NAMED)
    for code, cls in codes.items():
        family = next(base.__name__ for base in cls.__mro__ if base.__name__ in RANGES)
        assert RANGES[family] <= code < RANGES[family] + 10, cls
        assert code < 124, "124 and above mean something to shells and timeout(1)"


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_an_error_is_also_what_a_caller_would_catch_anyway(name: str, builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="gone"):
        raise all_errors()[name]("gone")


def test_every_public_error_is_in_the_tree() -> None:
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(all_errors())


def test_a_record_of_an_unknown_error_becomes_the_root_not_a_crash() -> None:
    error = from_record({"error": "OfAnotherVersion", "message": "Hm.", "exit_code": 99})
    assert (type(error), str(error), error.exit_code) == (NodexferError, "Hm.", 1)
    assert str(from_record({})) == "The error came without a message."


def test_a_record_is_plain_data() -> None:
    assert SourceMissing("Gone.", "ls").as_record() == {
        "error": "SourceMissing",
        "message": "Gone.",
        "next": "ls",
        "exit_code": 20,
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an exception has no notes")
def test_an_error_that_nobody_catches_shows_the_next_command_once() -> None:
    error = pickle.loads(pickle.dumps(SourceMissing("Gone.", "ls /site")))
    assert traceback.format_exception_only(error)[-2:] == ["nodexfer.errors.SourceMissing: Gone.\n", "Next: ls /site\n"]
    assert str(error) == "Gone."
    assert "Next" not in "".join(traceback.format_exception_only(SourceMissing("Gone.", "")))
