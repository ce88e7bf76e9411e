"""``@nodexfer.staged``: the same function by every way of the SDK, on a worker that has nodexfer or not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import nodexfer
from nodexfer import procs
from nodexfer.errors import (
    DestinationExists,
    NodexferError,
    OutputMissing,
    PoolMissing,
    ServiceUnreachable,
    SourceMissing,
    TransferUnproven,
    UrlMalformed,
)
from nodexfer.integrations import staging, worker
from nodexfer.session import BROKEN
from tests.integration import compute_payloads
from tests.support.holding import is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

pytest.importorskip("globus_compute_sdk")
ROOT = Path(__file__).parents[2]


OLD = ROOT / ".venv-sdk3/bin/python"


def run(*arguments: str, python: str = sys.executable) -> str:
    done = procs.run([python, *arguments], timeout=150, cwd=str(ROOT) if arguments[0] == "-m" else "/")
    assert done.code == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def payloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A staged function, packed by a program that ends: nothing of the submit side is there any more."""
    file = tmp_path_factory.mktemp("payloads") / "payloads"
    run("-m", "tests.integration.compute_payloads", "submit", str(file))
    return file


def arrived(payloads: Path, how: str, python: str = sys.executable) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(compute_payloads.__file__, "work", str(payloads), how, "a", python=python))
    assert tuple(found) == compute_payloads.NAMES
    return found


@pytest.fixture
def user(box: Box, monkeypatch: pytest.MonkeyPatch) -> User:
    user = User(box)
    for name, value in {**user.environ, "NODEXFER_JOB_ID": "c", "NODEXFER_LINGER": "5"}.items():
        monkeypatch.setenv(name, value)
    (user.site / "raw").mkdir()
    for name in ("a", "b"):
        (user.site / f"raw/{name}.dat").write_text(f"scan {name}")
    (user.site / "model").mkdir()
    (user.site / "model/weights").write_text("-w")
    return user


@pytest.mark.slow
def test_every_way_of_the_sdk_brings_the_same_function_and_its_data(payloads: Path, user: User) -> None:
    found = arrived(payloads, "there")
    for turn, (name, result) in enumerate(found.items()):
        assert isinstance(result, dict), (name, result)
        assert (user.site / f"out/r-a-{turn:02d}.dat").read_text() == "a nacs-w"
        assert result["value"]["frames"] == ["a.dat", "b.dat"]
        directions = [receipt["direction"] for receipt in result["receipts"]]
        # What is shared comes once for all of them.
        assert directions == (["in", "in", "out"] if turn == 0 else ["in", "out"]), name
        # a.dat is an input twice, and moved once.
        assert [len(receipt["files"]) for receipt in result["receipts"][-2:]] == [2, 1]
        assert not os.path.exists(result["value"]["raw"])
    eventually(lambda: is_cleared(user.config))


@pytest.mark.conformance
@pytest.mark.parametrize("ends", ["both", "submit", "work"])
def test_the_oldest_sdk_that_is_supported_brings_it_too(payloads: Path, user: User, tmp_path: Path, ends: str) -> None:
    """4.6 at both ends or at one, with globus-sdk 3.65 below."""
    assert OLD.exists(), "the environment with globus-sdk 3.65 is missing; `make test-conformance` sets it up"
    if ends != "work":
        payloads = tmp_path / "old"
        run("-m", "tests.integration.compute_payloads", "submit", str(payloads), python=str(OLD))
    for name, result in arrived(payloads, "there", sys.executable if ends == "submit" else str(OLD)).items():
        assert isinstance(result, dict), (name, result)
        assert result["value"]["frames"] == ["a.dat", "b.dat"]
    eventually(lambda: is_cleared(user.config))


@pytest.mark.slow
def test_a_worker_without_nodexfer_says_how_to_install_it_there(payloads: Path) -> None:
    for name, said in arrived(payloads, "missing").items():
        assert said.startswith(f"ImportError: nodexfer is not installed for {sys.executable} on "), (name, said)
        assert said.endswith(f"{sys.executable} -m pip install nodexfer=={nodexfer.__version__}")


@pytest.mark.slow
def test_a_worker_that_knows_another_format_names_both_versions(
    payloads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old/nodexfer/integrations"
    old.mkdir(parents=True)
    (old / "__init__.py").touch()
    (old.parent / "__init__.py").write_text('__version__ = "0.0.7"\n')
    for text in (None, "FORMAT = 0\n"):  # older than all this; and one that knows less
        if text is not None:
            (old / "staging.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "old"))
        for name, said in arrived(payloads, "there").items():
            assert "ImportError: nodexfer 0.0.7 is installed for " in said, (name, said)
            assert f"and {nodexfer.__version__} is asking it for what it does not know" in said


# In one process: what the function and the call may say ----------------------------------------------------------


@pytest.fixture
def here(user: User) -> User:
    """This process is the worker, and releases what it held."""
    return user


@pytest.fixture(autouse=True)
def _released() -> Any:
    yield
    worker.release()


def test_what_a_function_did_not_write_is_named_and_nothing_is_sent(here: User) -> None:
    @nodexfer.staged(outputs={"one": "site:/one", "two": "site:/two"})
    def half(one: Path, two: Path) -> None:
        one.write_text("1")

    with pytest.raises(OutputMissing, match=r"half\(\) returned, but did not write two \(.*/two\) on .*; nothing was"):
        half()
    assert not (here.site / "one").exists()


def test_a_function_is_itself_where_its_code_is_at_hand_with_all_that_it_refers_to(here: User) -> None:
    import math

    @nodexfer.staged()
    def root(number: int) -> float:
        return math.sqrt(number)

    assert root(4) == {"value": 2.0, "receipts": []}


def test_a_function_that_raises_sends_nothing_and_leaves_nothing(here: User) -> None:
    @nodexfer.staged(inputs={"raw": "site:/raw/a.dat"}, outputs={"out": "site:/o"})
    def fails(raw: Path, out: Path) -> None:
        out.write_text(raw.read_text())
        raise KeyError(str(raw))

    with pytest.raises(KeyError) as caught:
        fails()
    assert not os.path.exists(caught.value.args[0])
    assert not (here.site / "o").exists()


def test_an_error_says_what_was_moved_before_it(here: User) -> None:
    (here.site / "o").write_text("there")

    @nodexfer.staged(inputs={"raw": "site:/raw/a.dat"}, outputs={"out": "site:/o"})
    def copy(raw: Path, out: Path) -> None:
        out.write_text(raw.read_text())

    with pytest.raises(DestinationExists) as caught:
        copy()
    (receipt,) = caught.value.receipts
    assert receipt["direction"] == "in"
    if sys.version_info >= (3, 11):
        assert f"Moved before: receipt {receipt['id']}" in caught.value.__notes__
    over = nodexfer.staged(inputs={"raw": "site:/raw/a.dat"}, outputs={"out": "site:/o"}, overwrite=True)

    def again(raw: Path, out: Path) -> int:
        return out.write_text(raw.read_text())

    assert over(again)()["value"] == 6
    assert (here.site / "o").read_text() == "scan a"


def test_a_source_that_is_not_there_is_our_own_error(here: User) -> None:
    @nodexfer.staged(inputs={"raw": "site:/raw/{name}.dat"})
    def read(name: str, raw: Path) -> str:
        return raw.read_text()

    assert read("b")["value"] == "scan b"
    with pytest.raises(SourceMissing, match=r"raw/zzz\.dat"):
        read("zzz")


def test_a_value_that_can_not_travel_is_told_after_the_outputs_are_out(here: User) -> None:
    @nodexfer.staged(outputs={"out": "site:/o"})
    def large(out: Path) -> bytes:
        out.write_text("kept")
        return bytes(8_000_000)

    with pytest.raises(
        NodexferError, match=r"large\(\) returned 10\.8 MB as Globus Compute sends it, .* at most 10\.5 MB"
    ):
        large()
    assert (here.site / "o").read_text() == "kept"


def test_a_function_that_is_staged_on_the_worker_only_works_there(here: User) -> None:
    """The submit side has no nodexfer: the function itself imports and decorates."""

    def outer(name: str) -> Any:
        import nodexfer

        @nodexfer.staged(inputs={"raw": "site:/raw/{name}.dat"})
        def inner(name: str, raw: Path) -> str:
            return raw.read_text() + name

        return inner(name)

    assert outer("a")["value"] == "scan aa"


def test_in_a_broken_block_every_call_raises_what_the_block_was_told_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROKEN, json.dumps(PoolMissing("There is no pool.").as_record()))
    with pytest.raises(PoolMissing, match="There is no pool"):
        nodexfer.staged()(lambda: None)()
    with pytest.raises(PoolMissing, match="There is no pool"):
        worker.node()


def test_a_block_without_a_way_to_the_service_is_told_by_name(here: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on nodes without outbound network, and without the site's proxy."""
    for name in list(os.environ):
        if name.startswith("GLOBUS_SDK_SERVICE_URL"):
            monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("NODEXFER_SERVICE_TIMEOUT", "1")

    @nodexfer.staged(inputs={"raw": "site:/raw/a.dat"})
    def read(raw: Path) -> str:
        return raw.read_text()

    with pytest.raises(ServiceUnreachable, match="can not be reached from this node"):
        read()


# What is refused before anything travels --------------------------------------------------------------------------


def test_keys_are_arguments_of_the_function_and_stand_once() -> None:
    def function(a: int, b: Path) -> None: ...

    with pytest.raises(TypeError, match=r"function\(\) has no argument 'c', which would be the path of a file"):
        nodexfer.staged(inputs={"c": "site:/c"})(function)
    with pytest.raises(TypeError, match="b stands twice among inputs, outputs and shared"):
        nodexfer.staged(inputs={"b": "site:/c"}, shared={"b": "site:/c"})(function)
    made = nodexfer.staged(inputs={"b": "site:/{x}"})(function)
    assert made.__name__ == "function"
    with pytest.raises(TypeError, match=r"function\(\) gets 'b' from nodexfer\.staged"):
        made(1, b=2)
    with pytest.raises(UrlMalformed, match=r"'site:/\{x\}' can not be filled in \(KeyError: 'x'\); .* arguments: a\."):
        made(1)


def test_an_archive_is_there_as_what_is_in_it_and_a_checksum_is_compared(here: User) -> None:
    """As an input and shared, beside plain ones, in a list; the checksum may be an argument of the call."""
    checksum = here.archive("set.tar.gz", {"a": b"in it"})
    source = nodexfer.Source("site:/{name}.tar.gz", extract=True, expect="{checksum}")

    @nodexfer.staged(
        inputs={"several": [source, "site:/raw/a.dat", "site:/set.tar.gz"]},
        shared={"common": nodexfer.Source("nodexfer://site/set.tar.gz", extract=True), "packed": "site:/set.tar.gz"},
    )
    def function(name: str, checksum: str, several: list[Path], common: Path, packed: Path) -> list[Any]:
        assert packed.is_file()
        return [several[0].name, (several[0] / "a").read_bytes(), several[1].read_text(), (common / "a").read_bytes()]

    done = function("set", checksum)
    assert done["value"] == ["set", b"in it", "scan a", b"in it"]
    assert [len(receipt["files"]) for receipt in done["receipts"]] == [1, 1, 1, 2]
    with pytest.raises(TransferUnproven, match="has the sha256 checksum"):
        function("set", "sha256:" + "0" * 64)
    with pytest.raises(UrlMalformed, match="'set' is not ALGORITHM:HEX"):
        function("set", "set")


def test_what_is_sent_has_no_contents_to_say_anything_of() -> None:
    def function(a: Path) -> None: ...

    with pytest.raises(TypeError, match=r"function\(\): a is an output, whose URL is all"):
        nodexfer.staged(outputs={"a": [nodexfer.Source("site:/a.tar", extract=True)]})(function)  # type: ignore[list-item]


def test_every_key_fits_a_function_that_takes_any() -> None:
    def function(**anything: Any) -> Any: ...

    nodexfer.staged(inputs={"c": "site:/c"})(function)
    work = {"name": "function", "inputs": {"c": "site:/{a}"}, "outputs": {}, "shared": {}}
    assert staging.named(function, work, (), {"a": 3}) == {"a": 3}
    assert staging.filled(work, {"a": 3})["inputs"] == {"c": [nodexfer.Source("site:/3")]}


def test_a_receipt_of_very_many_files_fits_into_a_result() -> None:
    receipt = {"id": "r", "files": [{"source": str(number)} for number in range(staging.FILES_MOST + 7)]}
    short = staging.short(receipt)
    assert (len(short["files"]), short["files_left_out"]) == (staging.FILES_MOST, 7)
    assert staging.short(short | {"files": []}) == short | {"files": []}


def test_a_function_without_a_text_says_so_where_only_its_text_arrives() -> None:
    with pytest.raises(NodexferError, match=r"Only the text of f\(\) was sent, and the submit side has none of it"):
        staging.from_source({"name": "f", "source": None})
