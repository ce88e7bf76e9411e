"""What each exit code of nodexfer means: the words of the README's table and of ``nodexfer explain``."""

from __future__ import annotations

#: What the command line itself says; it is no error of ours.
USAGE = (2, "usage", "an option or argument that the command does not know")

#: Error -> when it comes. The exit codes are the errors' own.
MEANINGS: dict[str, str] = {
    "ConfigMissing": "a collection is named, and there is no configuration file",
    "ConfigInvalid": "an unknown key or a value of the wrong kind; file and key are named",
    "CollectionUnknown": "the configuration knows no collection of that name",
    "UrlMalformed": "neither `name:/path` nor `globus://<uuid>/path` nor a path",
    "HoldUnknown": "a release of something that is not held here",
    "ReceiptUnknown": "no receipt, or more than one, has an id that begins so",
    "NodexferMissing": "a worker of Parsl or Globus Compute has no nodexfer, or one that is too old",
    "SourceMissing": "the source is not there; found in seconds, before anything moves",
    "PermissionRefused": "one side does not let you read or write there",
    "DestinationNotAllowed": "the local path lies outside the `roots`",
    "DestinationExists": "something is there, and neither `--overwrite` nor `--merge` was given",
    "OutputMissing": "the program did not write an output; none was sent",
    "SourceUnsupported": "a device, a socket, a link to a directory",
    "GcpMissing": "no Globus Connect Personal program was found",
    "PoolMissing": "no pool of that name",
    "PoolEntryBroken": "an endpoint's record or configuration directory is not whole",
    "PoolExhausted": "every endpoint is out, and the wait is over; the holders are named",
    "EndpointNotOurs": "the endpoint belongs to another identity than the token's",
    "ForeignGcp": "another Globus Connect Personal of yours runs on this node",
    "EndpointFailed": "GCP did not become ready, or was lost twice; its last lines are quoted",
    "LeaseLost": "the lease went to another node; GCP here was stopped first",
    "EndpointHeld": "an endpoint in use can not be removed",
    "TokenMissing": "no client id and secret, no stored token",
    "TokenExpired": "the token is not valid any more, and it can not be renewed without you",
    "SecretExposed": "a file with a secret can be read by others",
    "ServiceUnreachable": "Globus does not answer",
    "ServiceRefused": "Globus answered with an error of its own; its code is quoted",
    "NodeDirUnsafe": "`/tmp/nodexfer-<uid>` is a link, somebody else's, or open to others",
    "NodeDirRemoved": "the node_dir was removed while in use",
    "DiskFull": "this node's disk, or the disk or quota of the side that was written to",
    "HomeFull": "the file system of `~/.nodexfer`",
    "RecordBroken": "a record was not whole; it was set aside",
    "RecordNewer": "a record of a newer nodexfer; it was left alone",
    "KeeperFailed": "the job's keeper did not start; its last lines are quoted",
    "TransferFailed": "the Globus task ended badly; its own reason is quoted",
    "TransferUnproven": "the task ended well, and what arrived is not what was asked",
    "DeadlinePassed": "not over by the end of the job; or the program was stopped for time, its outputs sent or saved",
    "Interrupted": "the command was told to stop; its task was cancelled",
    "ChangedMeanwhile": "a file was written to while it was moved, each of the three times",
    "NodexferError": "anything else: a fault of nodexfer, please report it with `--debug`",
}
