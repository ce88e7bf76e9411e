"""``python -m nodexfer``: the command without its script."""

from nodexfer.cli import main

main()
