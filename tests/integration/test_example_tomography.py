"""examples/tomography.py as a batch job and with Globus Compute: the image is the function's own, byte by byte.

(With Parsl: test_example_pages.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.examples import EXAMPLES, ROOT, Done, Reader, names, reader, scheduled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCANS = ("scan-1", "scan-2")


@pytest.fixture
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with reader(tmp_path_factory) as found:
        found.made("make_frames.py", found.site / "tomography", *SCANS)
        yield found


def arrived(here: Reader, done: Done, directory: Path) -> None:
    """What the same function writes here, without any staging, is what is at the site."""
    assert done.code == 0, done
    lines = [line for line in done.out.splitlines() if line.startswith("scan-")]
    assert lines == [f"{scan}: 60 frames, image of 3 x 64 x 64" for scan in SCANS]
    images = here.site / "tomography/images"
    assert sorted(path.name for path in images.iterdir()) == [f"{scan}.npy" for scan in SCANS]
    for scan in SCANS:
        wanted = directory / f"{scan}.npy"
        names("tomography.py")["reconstruct"](scan, [here.site / "tomography/frames" / scan], [wanted])
        assert (images / f"{scan}.npy").read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize("script", ["tomography.pbs", "tomography.sbatch"])
def test_as_a_batch_job(script: str, here: Reader, tmp_path: Path) -> None:
    arrived(here, scheduled(here, script), tmp_path)
    image = np.load(here.site / "tomography/images/scan-1.npy")[0]
    # The discs of make_frames.py, by their densities: the large one, one in it, a hollow in it, and nothing.
    for row, column, density in ((43, 40, 1.0), (37, 23, 3.0), (26, 41, 0.5), (2, 2, 0.0)):
        assert image[row - 1 : row + 2, column - 1 : column + 2].mean() == pytest.approx(density, abs=0.15)


def test_with_globus_compute(here: Reader, tmp_path: Path) -> None:
    base = Path(here.user.stage.directory)
    (base / "run").mkdir()
    done = here.run(
        *(sys.executable, "-m", "tests.integration.compute_example"),
        *(ROOT / "endpoint_configs/local", base / "run", EXAMPLES / "tomography.py", "compute", "here", *SCANS),
        PYTHONPATH=str(ROOT),
        GLOBUS_COMPUTE_USER_DIR=str(base / "globus_compute"),
    )
    arrived(here, done, tmp_path)
