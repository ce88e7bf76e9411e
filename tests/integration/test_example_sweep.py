"""examples/training_sweep.py: five jobs, one data set on the node, and what became of each."""

from __future__ import annotations

import json
import pickle
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parsl.executors.high_throughput.errors import WorkerLost

from nodexfer.errors import NodexferError, PoolMissing, TransferFailed
from tests.support.examples import Reader, names, reader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ARCHIVE = "site:/data/cifar-100-python.tar.gz"
GOOD = {"learning_rate": 0.05, "batch_size": 50, "momentum": 0.5, "seed": 1}


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reader(tmp_path_factory) as found:
        (found.site / "data").mkdir()
        yield found


def swept(here: Reader, *options: str) -> tuple[int, list[dict[str, Any]], str]:
    """The exit code, the jobs of the report, and what was shown."""
    done = here.python("training_sweep.py", *options, COLUMNS="120")
    report = Path(here.user.stage.directory, "results.json")
    assert report.exists(), done
    return done.code, json.loads(report.read_text())["jobs"], done.out


def accuracy(here: Reader, weights: Path) -> float:
    with tarfile.open(here.site / "data/cifar-100-python.tar.gz") as tar:
        part = tar.extractfile("cifar-100-python/test")
        assert part is not None
        test = pickle.load(part, encoding="bytes")
    images = test[b"data"] / np.float32(255) - 0.5
    return float(((images @ np.load(weights)).argmax(axis=1) == np.array(test[b"fine_labels"])).mean())


def receipts(here: Reader) -> list[dict[str, Any]]:
    found = Path(here.user.stage.home, ".nodexfer/receipts").rglob("*.json")
    return [json.loads(path.read_text()) for path in found]


def test_jobs_share_one_data_set_and_those_that_fail_say_where_and_why(here: Reader) -> None:
    """Of five, the second finds its results' place taken, and the third learns nothing."""
    checksum = here.made("make_cifar_like.py", here.site / "data")
    drawn = [{**GOOD, "seed": number, "learning_rate": 1e300 if number == 3 else 0.05} for number in range(1, 6)]
    earlier = Path(here.user.stage.directory, "earlier.json")
    earlier.write_text(json.dumps({"jobs": [{"hyperparameters": one} for one in drawn]}))
    taken = here.site / "sweeps/rates/job_2"
    taken.mkdir(parents=True)
    (taken / "metrics.json").write_text("another sweep's")
    pattern = "site:/sweeps/{experiment}/job_{jobid}"
    code, jobs, shown = swept(
        here, ARCHIVE, checksum, "--again", str(earlier), "--experiment", "rates", "--results", pattern
    )
    assert [job["state"] for job in jobs] == ["done", "failed", "failed", "done", "done"], jobs
    assert code == 1
    errors = [{**jobs[number]["error"], "message": ""} for number in (1, 2)]
    taken_error = {"category": "data", "severity": "error", "stage": "stage-out", "name": "DestinationExists"}
    program_error = {"category": "program", "severity": "error", "stage": "train", "name": "ArithmeticError"}
    assert errors == [{**taken_error, "message": ""}, {**program_error, "message": ""}]
    assert "5 of 5 jobs are over" in shown
    assert "failed (error) at train: program" in shown
    assert "failed (error) at stage-out: data" in shown

    # Brought once, by whichever job came first.
    brought = [one["id"] for one in receipts(here) if one["direction"] == "in"]
    assert len(brought) == 1
    assert sorted(path.name for path in taken.parent.iterdir()) == ["job_1", "job_2", "job_4", "job_5"]
    assert (taken / "metrics.json").read_text() == "another sweep's"
    for job in (jobs[0], jobs[3], jobs[4]):
        directory = taken.parent / f"job_{job['jobid']}"
        metrics = json.loads((directory / "metrics.json").read_text())
        assert metrics["hyperparameters"] == drawn[job["jobid"] - 1]
        assert metrics["accuracy"] == job["accuracy"] == accuracy(here, directory / "weights.npy")
        assert job["accuracy"] > 0.1  # by chance it would be a hundredth


def test_another_archive_than_was_expected_trains_nothing(here: Reader) -> None:
    here.made("make_cifar_like.py", here.site / "data")
    code, jobs, _ = swept(here, ARCHIVE, "md5:" + "0" * 32, "--seed", "1", "--experiment", "random")
    assert code == 1
    assert [(job["error"]["stage"], job["error"]["name"]) for job in jobs] == [("stage-in", "TransferUnproven")] * 5
    assert len({json.dumps(job["hyperparameters"]) for job in jobs}) == 5
    timestamp = jobs[0]["results"].removeprefix("site:/sweeps/").removesuffix("_random/job_1")
    assert [job["results"] for job in jobs] == [f"site:/sweeps/{timestamp}_random/job_{n}" for n in range(1, 6)]
    assert not (here.site / "sweeps").exists()


def test_the_archive_is_the_same_whenever_it_is_made(here: Reader) -> None:
    archive = here.site / "data/cifar-100-python.tar.gz"
    first = here.made("make_cifar_like.py", archive.parent), archive.read_bytes()
    assert (here.made("make_cifar_like.py", archive.parent), archive.read_bytes()) == first


def test_what_a_job_could_not_tell_itself_is_told_of_its_worker() -> None:
    example = names("training_sweep.py")
    found = []
    lost: Exception = WorkerLost(1, "node7")  # type: ignore[no-untyped-call]
    for error in (lost, PoolMissing("There is no pool."), TransferFailed("No.", "next")):
        future: Future[Any] = Future()
        future.set_exception(error)
        told = example["outcome"](future)["error"]
        found.append((told["category"], told["severity"], told["stage"], told["name"]))
    assert found == [
        ("program", "error", "worker", "WorkerLost"),
        ("endpoint", "transient", "stage-in", "PoolMissing"),
        ("transfer", "error", "stage-in", "TransferFailed"),
    ]
    # Every class directly below the root has its category.
    assert example["CATEGORIES"].keys() == {cls.__name__ for cls in NodexferError.__subclasses__()}
