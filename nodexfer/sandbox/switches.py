"""Switches: what is not known of the real service, and how fast the sandbox goes about things.

A default follows the documentation of Globus where it says something. The rest is a guess that a user of the sandbox
may turn round, to see that a script holds either way.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Switches(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All can be changed while the server runs (``nodexfer sandbox fault set switch NAME=VALUE``)."""

    #: Seconds between an error of a task and its next try, and so at most until it resumes on an endpoint that is back.
    #: Globus documents the retry, not the interval.
    resume_seconds: Seconds = 1.0
    #: Seconds that a stand-in needs from its start until it is connected.
    connect_seconds: Seconds = 0.0
    #: Seconds until a stand-in that lost its connection tries again, and between the reports that ``-status`` waits for
    #: (the real one: 5 and 5).
    reconnect_seconds: Seconds = 5.0
    report_seconds: Seconds = 5.0
    #: Whether GCP to GCP needs no subscription on either side. Documented: it needs one.
    p2p_without_subscription: bool = False
    #: HTTP status of an accepted submission.
    submit_status: Annotated[int, msgspec.Meta(ge=200, le=299)] = 202
    #: Seconds for which the endpoint document goes on saying "connected" after the connection is gone.
    offline_lag_seconds: Seconds = 0.0
    #: Lifetime of a setup key that is not used, seconds; 0: it has no end.
    key_seconds: Seconds = 0.0
    #: Whether the endpoint document goes on showing a setup key that has been used.
    show_used_key: bool = False
    #: Lifetime of an access token, seconds.
    token_seconds: Seconds = 172800.0
    #: Requests to Transfer per user and second, metered over ten seconds (documented second-hand: 20). 0: no limit.
    requests_per_second: Annotated[float, msgspec.Meta(ge=0)] = 20.0
    #: Tasks of each type that run at once for one user (documented: 3).
    active_tasks: Count = 3
    #: Tasks of one user that are not over (documented second-hand: 100).
    pending_tasks: Count = 100
    #: Endpoints that one identity may own (documented second-hand: 1000).
    owned_endpoints: Count = 1000
    #: Files that one task moves at a time (its STARTED event calls it concurrency).
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    #: Seconds between two PROGRESS events, and between two error events that say the same.
    event_seconds: Seconds = 10.0
