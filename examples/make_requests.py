"""A tiny model, and requests for it, for inference_batch.py.

    python make_requests.py DIRECTORY COUNT

DIRECTORY is where the collection has "inference": model.npz and requests/0000.json, and so on, are written into it.
"""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np

FEATURES = 16
LABELS = ("cat", "dog", "owl", "fox")


def main() -> None:
    base, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    random = np.random.default_rng(1)
    (base / "requests").mkdir(parents=True)
    np.savez(base / "model.npz", weights=random.normal(size=(FEATURES, len(LABELS))), labels=np.array(LABELS))
    for number in range(count):
        features = [round(value, 3) for value in random.normal(size=FEATURES).tolist()]
        (base / "requests" / f"{number:04d}.json").write_text(json.dumps({"features": features}))


if __name__ == "__main__":
    main()
