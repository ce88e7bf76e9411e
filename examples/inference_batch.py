"""Batch inference: request files in, a model, one result file for each request. Killed, it goes on where it was.

    python inference_batch.py [--every N] [BASE]     BASE: site:/inference, with model.npz and requests/*.json in it

What has its result at the site is not computed again. Results go out N at a time, whole or not at all, so that a job
that is killed loses N at most. Run it again (see inference_batch.md), as often as it takes.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np

import nodexfer
from nodexfer.errors import SourceMissing


def infer(request: pathlib.Path, model: dict[str, np.ndarray]) -> dict[str, object]:
    """The result for one request. One that can not be understood gets a result that says so."""
    try:
        features = np.array(json.loads(request.read_text())["features"], dtype=float)
        scores = np.exp(features @ model["weights"])
    except (KeyError, TypeError, ValueError) as error:
        return {"request": request.stem, "error": f"{type(error).__name__}: {error}"}
    scores /= scores.sum()
    return {"request": request.stem, "label": str(model["labels"][scores.argmax()]), "score": float(scores.max())}


def todo(node: nodexfer.Node, base: str) -> list[pathlib.Path]:
    """Requests without a result. The results are small: those that are there are brought, and their names looked at."""
    try:
        node.stage_in(f"{base}/results", node.scratch / "before")
    except SourceMissing:
        pass  # the first run
    requests = sorted((node.scratch / "requests").glob("*.json"))
    return [request for request in requests if not (node.scratch / "before" / request.name).exists()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Infer what has no result yet.")
    parser.add_argument("base", nargs="?", default="site:/inference")
    parser.add_argument("--every", type=int, default=20, help="results to send at a time")
    options = parser.parse_args()
    with nodexfer.hold() as node:
        node.stage_in([f"{options.base}/model.npz", f"{options.base}/requests"], node.scratch)
        with np.load(node.scratch / "model.npz") as file:
            model = dict(file)
        requests = todo(node, options.base)
        print(f"{len(requests)} to do", flush=True)
        (node.scratch / "results").mkdir()
        for start in range(0, len(requests), options.every):
            some = requests[start : start + options.every]
            results = [node.scratch / "results" / request.name for request in some]
            for request, result in zip(some, results, strict=True):
                result.write_text(json.dumps(infer(request, model)) + "\n")
            node.stage_out(results, f"{options.base}/results/")
            print(f"{start + len(some)} of {len(requests)} done", flush=True)


if __name__ == "__main__":
    main()
