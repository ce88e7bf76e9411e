"""examples/inference_batch.py: one result for each request, also by way of a job that is killed."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.examples import EXAMPLES, Reader, reader, scheduled
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REQUESTS = 60


def results(site: Path) -> dict[str, tuple[int, int]]:
    """Which file each is, and since when: another one if it was sent again."""
    found = {}
    for path in (site / "inference/results").glob("[!.]*.json"):
        status = path.stat()
        found[path.stem] = (status.st_ino, status.st_mtime_ns)
    return found


def wanted(request: Path, model: dict[str, np.ndarray]) -> tuple[str, float]:
    """Label and score, by other means."""
    features = json.loads(request.read_text())["features"]
    columns = model["weights"].T.tolist()
    scores = [math.exp(sum(a * b for a, b in zip(features, column, strict=True))) for column in columns]
    return str(model["labels"][scores.index(max(scores))]), max(scores) / sum(scores)


def killed_on_its_way(here: Reader) -> None:
    """Sends its results one by one, and is killed when the first is there: all of the job, as when its node is lost."""
    with here.start(
        sys.executable, EXAMPLES / "inference_batch.py", "--every", "1", PBS_JOBID="4710.server"
    ) as process:
        try:
            eventually(lambda: results(here.site), 120.0)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    assert process.returncode == -signal.SIGKILL
    here.stopped()


def test_a_job_that_is_killed_goes_on_where_it_was(tmp_path_factory: pytest.TempPathFactory) -> None:
    with reader(tmp_path_factory) as here:
        base = here.site / "inference"
        here.made("make_requests.py", base, str(REQUESTS))
        (base / "requests/none.json").write_text('{"features": "x"}')
        killed_on_its_way(here)
        before = results(here.site)
        # One by one they take a third of a second each, and the kill came with the first.
        assert 0 < len(before) < REQUESTS
        done = scheduled(here, "inference_batch.pbs")
        assert done.code == 0, done
        missing = REQUESTS + 1 - len(before)
        assert done.out.splitlines()[0] == f"{missing} to do"
        assert done.out.splitlines()[-1] == f"{missing} of {missing} done"

        after = results(here.site)
        assert {name: after[name] for name in before} == before
        assert sorted(after) == sorted(path.stem for path in (base / "requests").iterdir())
        with np.load(base / "model.npz") as file:
            model = dict(file)
        for name in after.keys() - {"none"}:
            found = json.loads((base / "results" / f"{name}.json").read_text())
            label, score = wanted(base / "requests" / f"{name}.json", model)
            assert found == {"request": name, "label": label, "score": pytest.approx(score)}
        assert "ValueError" in json.loads((base / "results/none.json").read_text())["error"]

        again = scheduled(here, "inference_batch.sbatch")
        assert (again.code, again.out) == (0, "0 to do\n"), again
        assert results(here.site) == after
