"""A sweep: training jobs with random hyperparameters on one data set, which each node gets once, unpacked and verified.

    python training_sweep.py ARCHIVE CHECKSUM        as in: site:/data/cifar-100-python.tar.gz md5:HEX

Every job's weights and metrics go to a directory of its own; what became of the jobs, and of those that failed at which
stage and why, is shown while they run, and written to --report. See training_sweep.md.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import parsl
from parsl.app.app import python_app
from rich.console import Console
from rich.live import Live
from rich.table import Table

import nodexfer
from nodexfer.integrations.parsl import Source, config

#: What an error of nodexfer is about, and how bad: run a "transient" one again; a "critical" one meets every job.
CATEGORIES = {
    "SetupError": ("setup", "critical"),
    "DataError": ("data", "error"),
    "EndpointError": ("endpoint", "transient"),
    "ServiceError": ("service", "transient"),
    "NodeError": ("node", "critical"),
    "TransferError": ("transfer", "error"),
}


@python_app
def train(job: dict[str, Any], epochs: int, inputs: Any) -> dict[str, Any]:
    """One job, on a worker: everything that it needs is imported here. What went wrong comes back as data.

    Its input is the directory of what was in the archive: the first job on a node brings and unpacks it; those that
    meet it there wait, and share it.
    """
    import json
    import pickle
    import tempfile
    import time
    from pathlib import Path

    import numpy as np

    import nodexfer

    start, stage, drawn = time.monotonic(), "train", job["hyperparameters"]
    try:
        sets = {}
        for name in ("train", "test"):
            with open(Path(inputs[0], "cifar-100-python", name), "rb") as file:
                # A pickle can do anything: this one is what its checksum says.
                part = pickle.load(file, encoding="bytes")
            sets[name] = (part[b"data"] / np.float32(255) - 0.5, np.array(part[b"fine_labels"]))
        images, labels = sets["train"]
        chance = np.random.default_rng(drawn["seed"])
        weights = np.zeros((images.shape[1], 100), np.float32)
        speed = np.zeros_like(weights)
        for epoch in range(epochs):
            order = chance.permutation(len(labels))
            for at in range(0, len(order), drawn["batch_size"]):
                some = order[at : at + drawn["batch_size"]]
                scores = images[some] @ weights
                chances = np.exp(scores - scores.max(axis=1, keepdims=True))
                chances /= chances.sum(axis=1, keepdims=True)
                chances[np.arange(len(some)), labels[some]] -= 1
                speed = drawn["momentum"] * speed - drawn["learning_rate"] / len(some) * (images[some].T @ chances)
                weights = weights + speed
            if not np.isfinite(weights).all():
                raise ArithmeticError(f"the weights are not finite after epoch {epoch + 1}")
        right = (sets["test"][0] @ weights).argmax(axis=1) == sets["test"][1]
        metrics = {"accuracy": float(right.mean()), "epochs": epochs}
        stage = "stage-out"
        with nodexfer.hold() as node, tempfile.TemporaryDirectory(dir=node.scratch) as own:
            np.save(f"{own}/weights.npy", weights)
            Path(own, "metrics.json").write_text(json.dumps({**job, **metrics}, indent=1) + "\n")
            receipt = node.stage_out({own: job["results"]})
        done = {**metrics, "receipt": receipt.id}
    except Exception as error:  # noqa: BLE001 (whatever it is: it is one job of many)
        done = {
            "error": type(error).__name__,
            "kinds": [kind.__name__ for kind in type(error).__mro__],
            "stage": stage,
            "message": str(error),
        }
    return {**done, "seconds": round(time.monotonic() - start, 2)}


def draw(chance: random.Random) -> dict[str, Any]:
    """Hyperparameters of one job."""
    return {
        "learning_rate": round(10 ** chance.uniform(-2, -0.5), 5),
        "batch_size": chance.choice([20, 50, 100]),
        "momentum": chance.choice([0.0, 0.5, 0.9]),
        "seed": chance.randrange(10**6),
    }


def failed(done: Mapping[str, Any]) -> dict[str, Any]:
    """The error of a job: its category, its severity, and the stage that it came in."""
    found = [CATEGORIES[kind] for kind in done["kinds"] if kind in CATEGORIES]
    category, severity = found[0] if found else ("program", "error")
    error = {"category": category, "severity": severity, "stage": done["stage"]}
    error |= {"name": done["error"], "message": done["message"]}
    return {"state": "failed", "error": error, "seconds": done["seconds"]}


def outcome(future: Any) -> dict[str, Any]:
    """How a job stands. It tells its own errors: one of nodexfer came before it, and any other is of its worker."""
    if not future.done():
        return {"state": future.task_status()}
    error = future.exception()
    if error is not None:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        stage = "stage-in" if isinstance(error, nodexfer.NodexferError) else "worker"
        return failed({"error": kinds[0], "kinds": kinds, "stage": stage, "message": str(error), "seconds": None})
    done = future.result()
    return failed(done) if "error" in done else {"state": "done", **done}


def table(jobs: list[dict[str, Any]]) -> Table:
    over = sum(job["state"] in ("done", "failed") for job in jobs)
    columns = ("job", "rate", "batch", "momentum", "state", "right", "s")
    made = Table(*columns, title=f"{over} of {len(jobs)} jobs are over")
    for job in jobs:
        state = job["state"]
        if error := job.get("error"):
            state += f" ({error['severity']}) at {error['stage']}: {error['category']}"
        accuracy = f"{job['accuracy']:.1%}" if "accuracy" in job else ""
        numbers = [str(job["hyperparameters"][key]) for key in ("learning_rate", "batch_size", "momentum")]
        made.add_row(str(job["jobid"]), *numbers, state, accuracy, str(job.get("seconds", "")))
    return made


def sweep(jobs: list[dict[str, Any]], archive: Source, epochs: int) -> list[dict[str, Any]]:
    """Run all, and show how they stand."""
    futures = [train(job, epochs, inputs=[archive]) for job in jobs]
    with Live(transient=True) as live:
        while True:
            over = all(future.done() for future in futures)
            found = [{**job, **outcome(future)} for job, future in zip(jobs, futures, strict=True)]
            if over:
                return found
            live.update(table(found))
            time.sleep(0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train with random hyperparameters.")
    parser.add_argument("archive", help="site:/data/cifar-100-python.tar.gz")
    parser.add_argument("checksum", help="sha256:HEX or md5:HEX of the archive")
    parser.add_argument("--experiment", default="sweep")
    parser.add_argument("--results", default="site:/sweeps/{timestamp}_{experiment}/job_{jobid}")
    parser.add_argument("--report", default="results.json")
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, help="for the same hyperparameters again")
    parser.add_argument("--again", help="a report, whose hyperparameters are taken instead of random ones")
    for name, default in (("site", "local"), ("account", ""), ("queue", "")):
        parser.add_argument(f"--{name}", default=default, help="where the workers are")
    options = parser.parse_args()
    if options.again:
        drawn = [job["hyperparameters"] for job in json.loads(pathlib.Path(options.again).read_text())["jobs"]]
    else:
        chance = random.Random(options.seed)
        drawn = [draw(chance) for _ in range(options.jobs)]
    names = {"timestamp": time.strftime("%Y%m%d-%H%M%S"), "experiment": options.experiment}
    jobs = [
        {"jobid": number, "results": options.results.format(**names, jobid=number), "hyperparameters": one}
        for number, one in enumerate(drawn, 1)
    ]
    # Parsl's way to write it; by its UUID, as globus://UUID/path, it is the same for both.
    url = options.archive if "://" in options.archive else "nodexfer://" + options.archive.replace(":", "", 1)
    archive = Source(url, extract=True, expect=options.checksum)
    where = {name: getattr(options, name) for name in ("site", "account", "queue")}
    # A thread for each worker: they share the cores of a node.
    where["worker_init"] = "export OMP_NUM_THREADS=1"
    with tempfile.TemporaryDirectory(prefix="parsl-") as run_dir, parsl.load(config(run_dir=run_dir, **where)):
        found = sweep(jobs, archive, options.epochs)
    report = {**names, "archive": options.archive, "checksum": options.checksum, "jobs": found}
    pathlib.Path(options.report).write_text(json.dumps(report, indent=1) + "\n")
    Console().print(table(found))
    raise SystemExit(any(job["state"] == "failed" for job in found))


if __name__ == "__main__":
    main()
