"""What arrived of source directories, against what lies there: the service does not say how many files they have.

Globus leaves out symbolic links in directories, and says nothing of it in any list: only a look at the source tells.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from nodexfer.globus.protocol import Globus
from nodexfer.staging import look, outcome
from nodexfer.staging.request import BatchItem, MovedFile


class Sized(NamedTuple):
    """Files with their sizes at the source, as far as these were seen; ``warnings``: where nobody looked."""

    files: list[MovedFile]
    warnings: tuple[str, ...] = ()


def sized(globus: Globus, collection: str, items: Sequence[BatchItem], files: Sequence[MovedFile]) -> Sized:
    """Of inputs. :raises TransferUnproven: something there was not moved. :raises NodexferError: see look.sizes()."""
    there = {item.number: look.sizes(globus, collection, item.remote) for item in items if item.is_directory}
    moved = {(file.number, file.path) for file in files}
    for item in items:
        for path in there[item.number].files if item.number in there else ():
            if (item.number, path) not in moved:
                raise outcome.left_out(posixpath.join(item.remote, path))
    found = [
        msgspec.structs.replace(file, size=there[file.number].files.get(file.path)) if file.number in there else file
        for file in files
    ]
    return Sized(found, tuple(gap for one in there.values() for gap in one.gaps))
