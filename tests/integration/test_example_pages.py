"""What the pages of the examples say to type does what they say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.examples import EXAMPLES, Reader, reader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reader(tmp_path_factory) as found:
        yield found


def commands(page: str) -> list[str]:
    """The lines after a prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```", (EXAMPLES / page).read_text(), re.DOTALL | re.MULTILINE)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def typed(here: Reader, page: str) -> str:
    """What a shell prints in which all of it is typed, in a copy of the examples."""
    copy = Path(here.user.stage.directory, "examples")
    shutil.copytree(EXAMPLES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    lines = [line.replace("/tmp/site", str(here.site)) for line in commands(page)]
    assert len(lines) > 1
    done = here.run("/bin/bash", "-c", "\n".join([f"set -eu; cd '{copy}'", *lines]))
    assert done.code == 0, done
    return done.out


def tomography(here: Reader, _: str) -> None:
    """By Parsl the same bytes as by the batch job."""
    by = {name: here.site / "tomography" / name for name in ("images", "by-batch")}
    found = [{path.name: path.read_bytes() for path in directory.iterdir()} for directory in by.values()]
    assert found[0].keys() == {"scan-1.npy", "scan-2.npy"}
    assert found[0] == found[1]


def training_sweep(here: Reader, out: str) -> None:
    """Random hyperparameters, and all jobs trained by them."""
    report = json.loads(Path(here.user.stage.directory, "examples/results.json").read_text())
    assert [job["state"] for job in report["jobs"]] == ["done"] * 5, report
    assert len({json.dumps(job["hyperparameters"]) for job in report["jobs"]}) == 5
    assert "5 of 5 jobs are over" in out
    directory = here.site / f"sweeps/{report['timestamp']}_rates"
    for number in range(1, 6):
        assert {path.name for path in (directory / f"job_{number}").iterdir()} == {"metrics.json", "weights.npy"}


def inference_batch(here: Reader, out: str) -> None:
    assert [line for line in out.splitlines() if line.endswith("to do")] == ["100 to do", "0 to do"]
    assert len(list((here.site / "inference/results").iterdir())) == 100


@pytest.mark.parametrize("looked_at", [tomography, training_sweep, inference_batch])
def test_the_commands_of_a_page(looked_at: Callable[[Reader, str], None], here: Reader) -> None:
    looked_at(here, typed(here, f"{looked_at.__name__}.md"))


@pytest.mark.parametrize("page", ["tomography.md", "training_sweep.md", "inference_batch.md"])
def test_a_page_has_a_variant_for_sites_and_its_table_of_collections(page: str) -> None:
    text = (EXAMPLES / page).read_text()
    assert "\n## On a site\n" in text
    assert "[collections.site]" in text
    for name in re.findall(r"sites/[\w.]+", text):
        assert (EXAMPLES / name).is_file()
