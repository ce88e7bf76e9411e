"""A staged function sent by the SDK as any user would: ``staged.py ENDPOINT``; prints its result."""

from __future__ import annotations

import json
import sys
from typing import Any

from globus_compute_sdk import Executor

import nodexfer


@nodexfer.staged(inputs={"data": "site:/{name}"}, outputs={"result": "site:/staged/{name}"})
def measure(name, data, result):  # type: ignore[no-untyped-def]
    result.write_text(str(data.stat().st_size))
    return data.stat().st_size


if __name__ == "__main__":
    made: Any = Executor(endpoint_id=sys.argv[1])
    with made as executor:
        print(json.dumps(executor.submit(measure, "input").result(120)))
