"""Programs for test_compute_staged: a submit side that packs a staged function, and a worker that runs what arrives.

    python -m tests.integration.compute_payloads submit FILE              every way of the SDK, into FILE
    python compute_payloads.py work FILE HOW [SCAN ...]                   with HOW "missing": nodexfer is not there

What runs is __main__, so that nothing travels by its name. The worker's side is run by its path, from a directory where
neither this repository nor, with "missing", nodexfer can be imported.
"""

from __future__ import annotations

import json
import sys
from typing import Any

NAMES = (
    *("DillCode", "DillCodeSource", "DillCodeTextInspect", "PureSourceTextInspect", "PureSourceDill"),
    *("CombinedCode", "AllCodeStrategies"),
)


def pack() -> dict[str, str]:
    from globus_compute_sdk.serialize import ComputeSerializer, concretes

    import nodexfer

    @nodexfer.staged(
        inputs={"raw": "site:/raw/{scan}.dat", "frames": ["site:/raw/{scan}.dat", "site:/raw/{other}.dat"]},
        outputs={"result": "site:/out/{prefix}-{scan}-{turn:02d}.dat"},
        shared={"model": "site:/model"},
    )
    def reconstruct(scan, turn, *, prefix="r", other="b", raw, frames, result, model):  # type: ignore[no-untyped-def]
        """What the user wrote."""
        result.write_bytes(raw.read_bytes()[::-1] + (model / "weights").read_bytes())
        return {"scan": scan, "frames": [frame.name for frame in frames], "raw": str(raw)}

    found: dict[str, str] = {}
    for name in NAMES:
        serializer = ComputeSerializer(strategy_code=getattr(concretes, name)())
        found[name] = serializer.serialize(reconstruct)
    return found


def work(payloads: dict[str, str], how: str, scan: str) -> dict[str, Any]:
    """What each gave; of an error its text, as Globus Compute sends it."""
    from globus_compute_sdk.serialize import ComputeSerializer

    if how == "missing":
        sys.modules["nodexfer"] = None  # type: ignore[assignment]
    serializer = ComputeSerializer()
    found: dict[str, Any] = {}
    for turn, (name, payload) in enumerate(payloads.items()):
        try:
            found[name] = serializer.deserialize(payload)(scan, turn=turn)
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            found[name] = f"{type(error).__name__}: {error}"
    return found


if __name__ == "__main__":
    action, file, *rest = sys.argv[1:]
    if action == "submit":
        with open(file, "w", encoding="utf-8") as out:
            json.dump(pack(), out)
    else:
        with open(file, encoding="utf-8") as read:
            print(json.dumps(work(json.load(read), *rest)))
