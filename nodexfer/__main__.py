"""``python -m nodexfer``: the command without its script."""

from __future__ import annotations

import sys

from nodexfer.cli import main

if __name__ == "__main__":
    sys.exit(main())
