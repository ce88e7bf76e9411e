"""Resume: what a job salvaged goes to its destinations, through the site's own collection; then the salvage is removed.

From a login node or a later job; no endpoint and no leader is needed. One task for each destination's collection, under
temporary names, proven, renamed. A process that dies at any moment is continued by the next that resumes: the state
beside the copies says where it was (:mod:`nodexfer.staging.via_task`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from nodexfer import identity
from nodexfer.config import Config
from nodexfer.errors import NodexferError, OutputMissing, ReceiptUnknown, TransferFailed, TransferUnproven
from nodexfer.globus.protocol import Globus
from nodexfer.staging import archive, client, journal, receipt, salvage_copy, salvage_record, spool, via_site, via_task
from nodexfer.staging.journal import Copy
from nodexfer.staging.receipt import Receipt, ReceiptFile
from nodexfer.staging.request import Batch, OutItem, Progress, Request, Result
from nodexfer.staging.salvage_record import Item, Salvage
from nodexfer.staging.via_errand import Errand


class Options(NamedTuple):
    """``deadline`` in seconds since the epoch. ``partial``: send directories of which files are missing, too."""

    deadline: float
    overwrite: bool = False
    merge: bool = False
    partial: bool = False


def find(config: Config, names: Sequence[str]) -> list[str]:
    """The salvages that receipts (ids or what they begin with, or files) name, each once; without a name all that
    wait, the oldest first.

    A receipt that is "done" has none any more, and is left out.

    :raises ReceiptUnknown: a name is of no salvage.
    """
    salvage_record.sweep(config.home_paths)
    there = {os.path.basename(path): path for path in salvage_record.directories(config.home_paths)}
    found = []
    for name in names:
        short = os.path.basename(name.rstrip("/")).removesuffix(".json")
        matches = [path for known, path in there.items() if short and known.startswith(short)]
        if len(matches) != 1:
            _refuse_unknown(config, name)
        found += matches
    return list(dict.fromkeys(found)) if names else list(there.values())


def _refuse_unknown(config: Config, name: str) -> None:
    known = archive.find(config.home_paths, name)
    if known.state != "done":
        raise ReceiptUnknown(f"The receipt {known.id} has no salvage: it is {known.state}.", "nodexfer receipts list")


def _receipt_of(config: Config, name: str) -> Receipt | None:
    try:
        return archive.find(config.home_paths, name)
    except NodexferError:
        return None


def resume(
    config: Config, directory: str, globus: Globus, options: Options, tell: Callable[[Progress], None] = lambda _: None
) -> Receipt:
    """Send one salvage; its receipt, "done". Dying in here, or the deadline, leaves it to be resumed again.

    :raises CollectionUnknown: no collection of the configuration shows the salvage.
    :raises OutputMissing: nothing was saved in it; it has been removed.
    :raises TransferUnproven: files of a directory were not saved; what is whole has been sent, the rest waits.
    :raises NodexferError: as of :func:`nodexfer.staging.send.send`; the salvage waits.
    """
    with salvage_record.claimed(directory) as free:
        salvage = salvage_record.read(directory)
        if salvage is None:
            raise OutputMissing(f"There is no salvage in {directory} (any more).", "nodexfer resume")
        _refuse_busy(directory, salvage, free)
        return _Resume(config, directory, salvage, globus, options, tell).run()


def _refuse_busy(directory: str, salvage: Salvage, free: bool) -> None:
    """The lock tells of this host; of another one, on some file systems, only the clock does."""
    saving = salvage.state == "saving" and salvage.host != identity.host() and time.time() < salvage.until
    if saving or not free:
        doing = f"is still being saved on {salvage.host}" if saving else "is being saved or resumed by another process"
        raise TransferFailed(f"{directory} {doing}.", f"nodexfer resume {salvage.id}")


class _Resume:
    def __init__(
        self,
        config: Config,
        directory: str,
        salvage: Salvage,
        globus: Globus,
        options: Options,
        tell: Callable[[Progress], None],
    ) -> None:
        self._config = config
        self._directory = directory
        self._salvage = salvage
        self._globus = globus
        self._options = options
        self._tell = tell
        self._copies: dict[int, list[Copy]] = {item.number: [] for item in salvage.items}
        self._results: list[Result] = []

    def run(self) -> Receipt:
        site = via_site.must_cover(self._config, self._directory)
        self._take_stock()
        if not any(self._copies.values()) and not any(self._is_whole(item) for item in self._salvage.items):
            self._forget_empty()
        for collection in dict.fromkeys(item.collection for item in self._salvage.items):
            self._send(site, collection)
        waiting = [item for item in self._salvage.items if item.number not in self._salvage.sent and self._has(item)]
        if waiting:
            raise self._unsent(waiting)
        done = self._finish()
        salvage_record.remove(self._directory)
        return done

    # What there is ----------------------------------------------------------------------------------------------

    def _take_stock(self) -> None:
        """Every copy, read again; what is damaged is gone. A task that has begun is not looked at twice."""
        copies = journal.read(self._directory)
        journal.settle(self._directory, copies)
        begun = any(name.startswith("task-") for name in os.listdir(self._directory))
        if not begun:
            self._tell(Progress(state="checking the copies"))
        for copy in copies:
            if _is_whole(copy, self._directory, read=not begun):
                self._copies[copy.number].append(copy)
            elif not begun:
                _unlink(copy.place(self._directory))
                self._note(unsaved=(*self._salvage.unsaved, f"{copy.source}: its copy was damaged"))

    def _is_whole(self, item: Item) -> bool:
        """One without files, too: its directories were made before the first copy of all."""
        made = self._salvage.state == "saved" or any(self._copies.values())
        return made and len(self._copies[item.number]) == item.files

    def _has(self, item: Item) -> bool:
        return self._is_whole(item) or bool(self._copies[item.number])

    def _forget_empty(self) -> None:
        found = _receipt_of(self._config, self._salvage.id)
        if found is not None:
            receipt.forget(self._config.home_paths, found)
        salvage_record.remove(self._directory)
        raise OutputMissing(
            f"The job {self._salvage.job} ended before anything of {self._salvage.id} was saved; it was forgotten.",
            "nodexfer resume",
        )

    # Sending ----------------------------------------------------------------------------------------------------

    def _send(self, site: via_site.Site, collection: str) -> None:
        name = f"task-{collection}.json"
        begun = spool.read(self._directory, name, Batch)
        if begun is not None and begun.submission_id:
            numbers = {item.number for item in begun.items} - set(self._salvage.sent)
        else:
            numbers = {item.number for item in self._to_send(collection)}
        if numbers:
            result = via_task.carry(self._errand(site, name, numbers))
            self._results.append(result)
            sent = {**self._salvage.sent, **{item.number: item.remote for item in result.items}}
            self._note(sent=sent, tasks=tuple(dict.fromkeys((*self._salvage.tasks, *result.tasks))))
        _unlink(f"{self._directory}/{name}")

    def _to_send(self, collection: str) -> Iterable[Item]:
        for item in self._salvage.items:
            if item.collection != collection or item.number in self._salvage.sent or not self._has(item):
                continue
            if self._is_whole(item) or self._options.partial:
                yield item

    def _errand(self, site: via_site.Site, name: str, numbers: set[int]) -> Errand:
        salvage, options = self._salvage, self._options
        request = Request(
            id=salvage.id,
            job=salvage.job,
            owner=client.owner(),
            direction="out",
            outs=tuple(self._out(item) for item in salvage.items if item.number in numbers),
            overwrite=salvage.overwrite or options.overwrite,
            merge=salvage.merge or options.merge,
            deadline=options.deadline,
            created=time.time(),
        )
        label = f"nodexfer resume {salvage.id}"
        return Errand(self._globus, site, request, f"{self._directory}/data", self._directory, name, label, self._tell)

    def _out(self, item: Item) -> OutItem:
        """What is not whole gets a name that says so: nobody is to take it for the whole."""
        copies = self._copies[item.number]
        mark = "" if self._is_whole(item) else ".partial"
        return OutItem(
            number=item.number,
            collection=item.collection,
            path=item.path if mark == "" or item.into is not None else f"{item.path}{mark}",
            root="",
            is_directory=item.is_directory,
            files=len(copies),
            bytes=sum(copy.size for copy in copies),
            into=None if item.into is None else f"{item.into}{mark}",
        )

    def _unsent(self, waiting: Sequence[Item]) -> TransferUnproven:
        named = ", ".join(
            f"{item.source} ({len(self._copies[item.number])} of {item.files} files)" for item in waiting[:3]
        )
        return TransferUnproven(
            f"Not all files were saved of {named}; they wait in {self._directory}. With --partial what there is goes "
            "to the destination's name with .partial behind it.",
            f"nodexfer resume --partial {self._salvage.id}",
        )

    # The end ----------------------------------------------------------------------------------------------------

    def _note(self, **fields: object) -> None:
        self._salvage = msgspec.structs.replace(self._salvage, **fields)
        salvage_record.write(self._directory, self._salvage)

    def _finish(self) -> Receipt:
        salvage = self._salvage
        asked = _receipt_of(self._config, salvage.id) or Receipt(
            id=salvage.id, direction="out", job=salvage.job, host=salvage.host, created=salvage.created
        )
        files = []
        collections = {item.number: item.collection for item in salvage.items}
        for number, path in salvage.sent.items():
            for copy in self._copies[number]:
                below = f"/{copy.path}" if copy.path else ""
                url = f"globus://{collections[number]}{path}{below}"
                files.append(ReceiptFile(copy.source, url, copy.size, copy.checksum))
        results = [*self._results, Result(tasks=salvage.tasks)]
        done = receipt.finished(asked, results, files)
        return receipt.write(
            self._config.home_paths,
            msgspec.structs.replace(done, tasks=salvage.tasks, salvage=None, unsaved=salvage.unsaved),
        )


def _is_whole(copy: Copy, directory: str, *, read: bool) -> bool:
    place = copy.place(directory)
    try:
        found = salvage_copy.checksum(place) if read else salvage_copy.Copied(os.path.getsize(place), copy.checksum)
    except OSError:
        return False
    return found == (copy.size, copy.checksum)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
