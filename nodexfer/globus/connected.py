"""``python -m nodexfer.globus.connected ENDPOINT``: prints "connected" or "not connected", as the service says.

For who waits for an endpoint whose owner is silent: a process of its own, so that the leader need not load globus_sdk.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

from nodexfer.config import load
from nodexfer.errors import NodexferError
from nodexfer.globus.sdk import connect


def main() -> int:
    try:
        with closing(connect(load(os.environ), os.environ)) as globus:
            found = globus.collection(sys.argv[1])
    except NodexferError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write("connected\n" if found.connected else "not connected\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
