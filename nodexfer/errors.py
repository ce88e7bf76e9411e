"""Every error that nodexfer raises, with the exit code of its command beside it.

    NodexferError
    ├── SetupError          10-19  the configuration or the request as typed
    ├── DataError           20-29  what is, or is not, at either side
    ├── EndpointError       30-39  GCP and the pool
    ├── ServiceError        40-49  Globus Auth and Transfer
    ├── NodeError           50-59  this node's directories, disks and records
    └── TransferError       60-69  what became of the bytes

An error is one full sentence (``str(error)``) and the next command to type (``error.next``). All pickle, since
they cross Parsl and Globus Compute workers, and each also derives from the builtin that a caller might catch.
"""

from __future__ import annotations

from typing import Any, ClassVar


class NodexferError(Exception):
    """The root. ``message`` is a sentence for people; ``next`` the command that mends it, or ''."""

    exit_code: ClassVar[int] = 1
    #: What the user can nearly always do; an instance may say something better.
    default_next: ClassVar[str] = ""
    #: Receipts, as plain data, of what was moved before it for the same app or function.
    receipts: tuple[dict[str, Any], ...] = ()

    def __init__(self, message: str, next: str | None = None) -> None:
        # By name: OSError, a base of some, would take (message, next) for (errno, strerror).
        Exception.__init__(self, message)
        self.message = message
        self.next = self.default_next if next is None else next
        if self.next and hasattr(self, "add_note"):  # Python 3.11: an error that nobody catches shows it as well
            self.add_note(f"Next: {self.next}")

    def __str__(self) -> str:
        return self.message

    def say(self, message: str) -> None:
        """The same in other words: those of whoever asked."""
        self.message, self.args = message, (message,)

    def __reduce__(self) -> tuple[Any, ...]:
        made = (type(self), (self.message, self.next))
        return (*made, {"receipts": self.receipts}) if self.receipts else made

    def as_record(self) -> dict[str, Any]:
        """The error as JSON: what ``--json`` prints and what crosses from the desk to a command."""
        return {"error": type(self).__name__, "message": self.message, "next": self.next, "exit_code": self.exit_code}


# 10-19: the configuration, or the request as typed -------------------------------------------------------------


class SetupError(NodexferError, ValueError):
    """Something must be written differently before anything can start."""


class ConfigMissing(SetupError):
    exit_code = 10
    default_next = "nodexfer --help"


class ConfigInvalid(SetupError):
    exit_code = 11
    default_next = "nodexfer status"


class CollectionUnknown(SetupError):
    exit_code = 12


class UrlMalformed(SetupError):
    exit_code = 13
    default_next = "nodexfer stage-in --help"


class HoldUnknown(SetupError):
    exit_code = 14
    default_next = "nodexfer status"


class ReceiptUnknown(SetupError):
    exit_code = 15
    default_next = "nodexfer receipts list"


class NodexferMissing(SetupError, ImportError):
    exit_code = 16  # a worker of Parsl or of Globus Compute has no nodexfer, or one that does not know what is asked
    default_next = "pip install --upgrade nodexfer"


# 20-29: what is, or is not, at either side ---------------------------------------------------------------------


class DataError(NodexferError, OSError):
    """The data are not as the request says. Nothing was published."""


class SourceMissing(DataError, FileNotFoundError):
    exit_code = 20


class PermissionRefused(DataError, PermissionError):
    exit_code = 21


class DestinationNotAllowed(DataError):
    exit_code = 22
    default_next = "nodexfer status"


class DestinationExists(DataError, FileExistsError):
    exit_code = 23


class OutputMissing(DataError, FileNotFoundError):
    exit_code = 24


class SourceUnsupported(DataError):
    exit_code = 25  # a kind of file that is not moved: a device, a socket, a link to a directory


# 30-39: GCP and the pool ---------------------------------------------------------------------------------------


class EndpointError(NodexferError, RuntimeError):
    """No endpoint on this node."""


class GcpMissing(EndpointError):
    exit_code = 30
    default_next = "nodexfer pool create --help"


class PoolMissing(EndpointError):
    exit_code = 31
    default_next = "nodexfer pool create --count 2 --prefix mynode"


class PoolEntryBroken(EndpointError):
    exit_code = 32
    default_next = "nodexfer pool list"


class PoolExhausted(EndpointError):
    exit_code = 33
    default_next = "nodexfer pool list"


class EndpointNotOurs(EndpointError):
    exit_code = 34  # the endpoint belongs to another identity than the token's
    default_next = "nodexfer pool list"


class ForeignGcp(EndpointError):
    """Another GCP of this user runs on this node. It is never joined or stopped."""

    exit_code = 35
    default_next = "nodexfer status"


class EndpointFailed(EndpointError):
    """GCP was started and never became ready, or was lost and could not be mended."""

    exit_code = 36
    default_next = "nodexfer status"


class LeaseLost(EndpointError):
    """The lease went to another place; GCP here was stopped before anything else."""

    exit_code = 37
    default_next = "nodexfer pool list"


class EndpointHeld(EndpointError):
    exit_code = 38
    default_next = "nodexfer pool list"


# 40-49: Globus Auth and Transfer -------------------------------------------------------------------------------


class ServiceError(NodexferError, RuntimeError):
    """The service, or our standing with it."""


class TokenMissing(ServiceError):
    exit_code = 40


class TokenExpired(ServiceError):
    exit_code = 41


class SecretExposed(ServiceError):
    exit_code = 42


class ServiceUnreachable(ServiceError, ConnectionError):
    exit_code = 43


class ServiceRefused(ServiceError):
    exit_code = 44  # the service answered with an error that is not one of the above; the message quotes its code


# 50-59: this node's directories, disks and records -------------------------------------------------------------


class NodeError(NodexferError, RuntimeError):
    """This node's own state can not be trusted or written."""


class NodeDirUnsafe(NodeError):
    """The node_dir is a symbolic link, or belongs to somebody else, or is open to others."""

    exit_code = 50


class NodeDirRemoved(NodeError):
    """The node_dir was removed or replaced under a running keeper."""

    exit_code = 51
    default_next = "nodexfer status"


class DiskFull(NodeError):
    exit_code = 52


class HomeFull(NodeError):
    """The shared file system (``~/.nodexfer``) takes no more."""

    exit_code = 53


class RecordBroken(NodeError):
    exit_code = 54


class RecordNewer(NodeError):
    """A record of a newer version of nodexfer: it is left as it is."""

    exit_code = 55
    default_next = "pip install --upgrade nodexfer"


class KeeperFailed(NodeError):
    exit_code = 56
    default_next = "nodexfer status"


# 60-69: what became of the bytes -------------------------------------------------------------------------------


class TransferError(NodexferError, RuntimeError):
    """The request ended, and not well. What was published is named; nothing else was."""


class TransferFailed(TransferError):
    exit_code = 60


class TransferUnproven(TransferError):
    """The task ended well and yet what arrived is not what was asked: short, skipped, extra, or different."""

    exit_code = 61


class ChangedMeanwhile(TransferUnproven):
    exit_code = 64


class DeadlinePassed(TransferError, TimeoutError):
    exit_code = 62


class Interrupted(TransferError):
    exit_code = 63


def all_errors() -> dict[str, type[NodexferError]]:
    """Every class of the tree by name: for the exit-code table, and to rebuild an error from its record."""
    found: dict[str, type[NodexferError]] = {}
    todo: list[type[NodexferError]] = [NodexferError]
    while todo:
        cls = todo.pop()
        found[cls.__name__] = cls
        todo.extend(cls.__subclasses__())
    return found


def from_record(record: dict[str, Any]) -> NodexferError:
    """The error that :meth:`NodexferError.as_record` wrote; an unknown name becomes the root, never a crash."""
    cls = all_errors().get(str(record.get("error")), NodexferError)
    return cls(str(record.get("message", "The error came without a message.")), str(record.get("next", "")))
