"""What the submit side is told reaches the worker; its node is none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nodexfer
from nodexfer.integrations import app, staging, worker


class Node:
    """Notes what it is asked with; every input has the text "x"."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.asked: list[dict[str, Any]] = []

    def stage_in(self, sources: Any, **options: Any) -> Any:
        self.asked.append(options)
        for path in sources.values():
            Path(path).write_text("x")
        return SimpleNamespace(as_record=lambda: {"id": "r", "files": []})

    def stage_out(self, sources: Any, **options: Any) -> Any:
        return self.stage_in({}, **options)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The node of whoever gives these settings."""
    found = Node(tmp_path)
    settings = {"linger": 1.0}
    monkeypatch.setattr(worker, "node", lambda given: found if given == settings else None)
    return found


def test_a_staged_function_s_options_and_settings_reach_its_node(node: Any) -> None:
    options: Any = {"verify": "checksum", "route": "via", "wait_endpoint": 5.0}

    @nodexfer.staged(
        inputs={"a": "site:/a"},
        outputs={"b": "site:/b"},
        shared={"c": "site:/c"},
        overwrite=True,
        settings={"linger": 1.0},
        **options,
    )
    def function(a: Path, b: Path, c: Path) -> None:
        b.write_text(a.read_text() + c.read_text())

    function()
    assert node.asked == [options, options, {**options, "overwrite": True}]


def test_a_provider_s_options_and_settings_reach_the_node_of_an_app(node: Any) -> None:
    files = pytest.importorskip("parsl.data_provider.files")
    from nodexfer.integrations.parsl import NodeStaging

    options: Any = {"verify": "checksum", "stall": 7.0, "wait_endpoint": 5.0, "route": "via"}
    provider = NodeStaging(overwrite=True, settings={"linger": 1.0}, **options)
    source, destination = files.File("nodexfer://site/a"), files.File("nodexfer://site/b")
    source.local_path, destination.local_path = str(app.Mark("in", "1", "a")), str(app.Mark("out", "2", "b"))

    def function(a: Any, b: Any) -> None:
        Path(b.local_path).write_text(Path(a.local_path).read_text())

    staged = provider.replace_task(None, "", source, function)  # type: ignore[arg-type]
    assert staged(source, destination) is None
    assert node.asked == [options, {**options, "overwrite": True}]


def test_annotations_of_a_function_that_is_sent_as_text_are_not_looked_up() -> None:
    source = "def function(a: numpy.ndarray, b: Elsewhere = None) -> Path:\n    return a\n"
    assert staging.from_source({"name": "function", "source": source})(1) == 1


def test_another_workflow_has_inputs_of_its_own() -> None:
    """On the same node, and below the same scratch, where no batch system gives it another job."""
    parsl = pytest.importorskip("nodexfer.integrations.parsl")
    files = pytest.importorskip("parsl.data_provider.files")

    class Workflow:
        def __init__(self, run: str) -> None:
            self.dfk = SimpleNamespace(run_id=run)

    names = []
    for workflow in (Workflow("1"), Workflow("1"), Workflow("2")):
        file = files.File("nodexfer://site/a")
        parsl.NodeStaging().stage_in(workflow, "", file, None)
        names.append(file.local_path)
    assert names[0] == names[1] != names[2]
