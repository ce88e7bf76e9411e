"""The jobs' program: that of the demonstration, with an exit code of its own where the disk is full.

python -m nodexfer.sandbox.chaos.program WITNESS
"""

from __future__ import annotations

import errno
import sys

from nodexfer.sandbox.demo import program

#: No error of nodexfer's has it: the job's own program found no space.
NO_SPACE = 120


def main() -> int:
    try:
        program.main()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"the job's program found no space: {error}\n")
        return NO_SPACE
    return 0


if __name__ == "__main__":
    sys.exit(main())
