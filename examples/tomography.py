"""Tomography: raw frames in, an image out. One function, as a batch job, with Parsl, and with Globus Compute.

    python tomography.py batch SCAN...               in a job script, or on any machine
    python tomography.py parsl SCAN...               with --site, --account, --queue: where its workers run
    python tomography.py compute ENDPOINT SCAN...    on a Globus Compute endpoint

"site" is a collection of the configuration; see tomography.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import nodexfer

# What is staged, the same in all three: a directory of frames in, one image out.
FRAMES = "/tomography/frames/{scan}"
IMAGE = "/tomography/images/{scan}.npy"


def reconstruct(scan: str, inputs: Sequence[os.PathLike[str]], outputs: Sequence[os.PathLike[str]]) -> dict[str, Any]:
    """Filtered back projection, slice by slice. It travels to a worker: everything that it needs is imported here."""
    from pathlib import Path

    import numpy as np

    frames = np.stack([np.load(path) for path in sorted(Path(inputs[0]).glob("*.npy"))])  # angle, slice, column
    count, slices, width = frames.shape
    ramp = 2 * np.abs(np.fft.rfftfreq(2 * width))
    rows = np.fft.irfft(np.fft.rfft(frames, 2 * width) * ramp, 2 * width)[:, :, :width]
    across = np.arange(width) - (width - 1) / 2
    image = np.zeros((slices, width, width))
    for number in range(count):
        angle = np.pi * number / count
        seen_at = across[None, :] * np.cos(angle) + across[:, None] * np.sin(angle)
        for part in range(slices):
            image[part] += np.interp(seen_at, across, rows[number, part], left=0, right=0)
    np.save(outputs[0], image * np.pi / (2 * count))
    return {"scan": scan, "frames": count, "shape": list(image.shape)}


#: The function with its data around it: brought before it runs, sent when it has returned. It can be called, or sent.
staged = nodexfer.staged(inputs={"inputs": [f"site:{FRAMES}"]}, outputs={"outputs": [f"site:{IMAGE}"]})(reconstruct)


def batch(scans: Sequence[str]) -> Iterator[dict[str, Any]]:
    """In this very process."""
    for scan in scans:
        yield staged(scan)["value"]


def with_compute(scans: Sequence[str], endpoint: str) -> Iterator[dict[str, Any]]:
    """On the workers of an endpoint; nodexfer has to be installed there."""
    from globus_compute_sdk import Executor

    executor: Any
    with Executor(endpoint_id=endpoint) as executor:
        for future in [executor.submit(staged, scan) for scan in scans]:
            yield future.result()["value"]


def with_parsl(scans: Sequence[str], **where: Any) -> Iterator[dict[str, Any]]:
    """On Parsl's workers. A file of the collection is there when the app runs: no staging in sight."""
    import parsl
    from parsl.app.app import python_app
    from parsl.data_provider.files import File

    from nodexfer.integrations.parsl import config

    def file(path: str, scan: str) -> File:
        return File(f"nodexfer://site{path.format(scan=scan)}")

    app = python_app(reconstruct)
    with tempfile.TemporaryDirectory(prefix="parsl-") as run_dir, parsl.load(config(run_dir=run_dir, **where)):
        for future in [app(scan, inputs=[file(FRAMES, scan)], outputs=[file(IMAGE, scan)]) for scan in scans]:
            yield future.result()


def main() -> None:
    parser = argparse.ArgumentParser(description="Reconstruct scans where the workers are.")
    ways = parser.add_subparsers(dest="way", required=True)
    ways.add_parser("batch")
    parsl = ways.add_parser("parsl")
    parsl.add_argument("--site", default="local")
    parsl.add_argument("--account", default="")
    parsl.add_argument("--queue", default="")
    ways.add_parser("compute").add_argument("endpoint")
    for way in ways.choices.values():
        way.add_argument("scans", nargs="+", metavar="SCAN")
    options = vars(parser.parse_args())
    run: Any = {"batch": batch, "parsl": with_parsl, "compute": with_compute}[options.pop("way")]
    for done in run(**options):
        print(f"{done['scan']}: {done['frames']} frames, image of {' x '.join(map(str, done['shape']))}")


if __name__ == "__main__":
    main()
