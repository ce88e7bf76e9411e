"""Frames for tomography.py: what a detector sees of a few discs, from as many sides.

    python make_frames.py DIRECTORY SCAN...

DIRECTORY is where the collection has "tomography"; each scan gets DIRECTORY/frames/SCAN/frame-000.npy and so on.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np

ANGLES, SLICES, WIDTH = 60, 3, 64
#: x, y, radius and density of each disc, in pixels from the middle.
DISCS = ((0.0, 0.0, 24.0, 1.0), (-8.0, 6.0, 6.0, 2.0), (10.0, -5.0, 4.0, -0.5))


def make(directory: pathlib.Path, shift: float) -> None:
    """One scan; in each further slice the discs are a little smaller."""
    directory.mkdir(parents=True)
    across = np.arange(WIDTH) - (WIDTH - 1) / 2
    for number in range(ANGLES):
        angle = np.pi * number / ANGLES
        frame = np.zeros((SLICES, WIDTH))
        for part in range(SLICES):
            for x, y, radius, density in DISCS:
                middle = (x + shift) * np.cos(angle) + y * np.sin(angle)
                inside = np.maximum((radius - part) ** 2 - (across - middle) ** 2, 0)
                frame[part] += density * 2 * np.sqrt(inside)
        np.save(directory / f"frame-{number:03d}.npy", frame)


def main() -> None:
    base, *scans = sys.argv[1:]
    for number, scan in enumerate(scans):
        make(pathlib.Path(base, "frames", scan), float(number))


if __name__ == "__main__":
    main()
