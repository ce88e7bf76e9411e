"""examples/tomography.py as its reader runs it: the SDK, the service, the endpoint and its workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.compute import running_endpoint
from tests.support.examples import EXAMPLES, names
from tests.support.holding import is_cleared
from tests.support.sandbox import Box
from tests.support.user import User
from tests.support.waiting import eventually

pytestmark = [pytest.mark.compute, pytest.mark.timeout(600)]

SCANS = ("scan-1", "scan-2")


def test_scans_are_reconstructed_on_the_workers_of_an_endpoint(compute_box: Box, tmp_path: Path) -> None:
    user = User(compute_box)
    make = names("make_frames.py")["make"]
    for number, scan in enumerate(SCANS):
        make(user.site / "tomography/frames" / scan, float(number))
    extra = {**user.environ, **{name: os.environ[name] for name in ("NODEXFER_NODE_DIR", "HOME")}}
    extra["PATH"] = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with running_endpoint(compute_box.sandbox, tmp_path / "gc", extra=extra) as endpoint:
        done = endpoint.python(EXAMPLES / "tomography.py", "compute", endpoint.id, *SCANS)
        assert done.code == 0, f"{done.err}\n{endpoint.log()}"
    assert done.out.splitlines() == [f"{scan}: 60 frames, image of 3 x 64 x 64" for scan in SCANS]
    for scan in SCANS:
        names("tomography.py")["reconstruct"](
            scan, [user.site / "tomography/frames" / scan], [tmp_path / f"{scan}.npy"]
        )
        image = user.site / "tomography/images" / f"{scan}.npy"
        assert image.read_bytes() == (tmp_path / f"{scan}.npy").read_bytes()
        assert np.load(image).shape == (3, 64, 64)
    eventually(lambda: is_cleared(user.config), 90.0)
