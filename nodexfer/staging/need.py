"""How much a request is to bring, known before it moves: for who has to say whether the time is enough.

What is in a directory Globus tells only when it has moved it. So directories are listed, as far as a few calls go;
beside the work and one request after the other, since nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nodexfer.errors import NodexferError
from nodexfer.globus.protocol import Globus
from nodexfer.staging import look
from nodexfer.staging.calls import Calls
from nodexfer.staging.cases import Case
from nodexfer.staging.request import BatchItem, Need

#: So many directories are listed of one request; and where it waits for that.
DIRECTORIES, WAITED_FOR = 60, 20


def of(globus: Globus, collection: str, items: Sequence[BatchItem], most: int = DIRECTORIES) -> Need:
    """One call for each directory there, ``most`` at most; none where all are files.

    What is not listed makes it "at least".
    """
    directories = [item for item in items if item.is_directory]
    total = sum(item.size or 0 for item in items)
    files, least = len(items) - len(directories), False
    for item in directories:
        try:
            found = look.sizes(globus, collection, item.remote, max(most // len(directories), 1))
        except NodexferError:
            least = True
            continue
        total, files = total + sum(found.files.values()), files + len(found.files)
        least = least or not found.whole
    return Need(bytes=total, files=files, least=least)


class Measure:
    """The desk's. ``known`` is called with a case that has got its ``need``."""

    def __init__(self, globus: Globus, calls: Calls, known: Callable[[Case], None]) -> None:
        self._globus = globus
        self._calls = calls
        self._known = known
        self._waiting: list[Case] = []
        self._busy = False

    def add(self, case: Case) -> None:
        """It was looked at, and its items are known."""
        if case.request.measure and case.need is None and case not in self._waiting:
            self._waiting.append(case)
            self._next()

    def _next(self) -> None:
        while self._waiting and not self._busy:
            case = self._waiting.pop(0)
            if not case.leaving:
                self._busy = True
                self._start(case, tuple(case.items))

    def _start(self, case: Case, items: Sequence[BatchItem]) -> None:
        def measured(answer: Need | NodexferError) -> None:
            self._busy = False
            if isinstance(answer, Need):
                case.need = answer
                self._known(case)
            self._next()

        self._calls.start(lambda: of(self._globus, case.collection, items), measured)
