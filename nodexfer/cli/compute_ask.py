"""``nodexfer compute check|selftest|diagnose``: what the service, and the workers of an endpoint, say."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from nodexfer.cli import example, render
from nodexfer.cli.duration import Duration
from nodexfer.config import load
from nodexfer.errors import ConfigInvalid

if TYPE_CHECKING:
    from nodexfer.integrations.compute_settings import Settings

JSON = click.option("--json", "as_json", is_flag=True, help="Print data for programs.")
OPTIONS = click.option(
    "--option",
    "-o",
    "given",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the site's template, as a caller would give it; VALUE is JSON or a plain text.",
)
_AUTH = click.option(
    "--auth-method",
    metavar="WORD",
    help="native_client, or client_credentials with $GLOBUS_COMPUTE_CLIENT_ID and ..._SECRET.",
)
_TIMEOUT = click.option(
    "--function-timeout", type=Duration(), metavar="TIME", help="Wait so long for a function. Default: 1 h."
)
_RETRIES = click.option(
    "--max-retries", type=click.IntRange(0), metavar="N", help="Send again what failed by no fault."
)
_JOBS = click.option(
    "--num-jobs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Jobs side by side."
)
_SOURCE = click.option("--source", default="", metavar="URL", help="What each job stages in.")
_DESTINATION = click.option("--destination", default="", metavar="URL", help="A directory that each job stages out to.")


def options(given: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` as a caller's options. :raises ConfigInvalid: there is no ``=``."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigInvalid(f"{text!r} is no KEY=VALUE.", "nodexfer compute validate --help")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _settings(
    uuid: str, auth_method: str | None, given: tuple[str, ...], timeout: float | None, retries: int | None
) -> Settings:
    """:raises ConfigInvalid: no endpoint is named, neither here nor in the configuration."""
    from nodexfer.integrations import compute_settings

    found = compute_settings.read(
        load(),
        endpoint_id=uuid or None,
        auth_method=auth_method,
        options=options(given) or None,
        function_timeout=timeout,
        max_retries=retries,
    )
    if not found.endpoint_id:
        raise ConfigInvalid(
            "No endpoint is named: give its UUID, or set endpoint_id in [compute] of the configuration.",
            "globus-compute-endpoint list",
        )
    return found


def _asking(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every command has that sends functions; ``command`` gets its ``settings``, and the rest as it is."""

    @functools.wraps(command)
    def asked(
        uuid: str,
        auth_method: str | None,
        given: tuple[str, ...],
        function_timeout: float | None,
        max_retries: int | None,
        **rest: Any,
    ) -> Any:
        return command(_settings(uuid, auth_method, given, function_timeout, max_retries), **rest)

    for decorate in (JSON, _RETRIES, _TIMEOUT, OPTIONS, _AUTH, _DESTINATION, _SOURCE, _JOBS):
        asked = decorate(asked)
    return click.argument("uuid", required=False, default="")(asked)


@click.command(epilog=example("nodexfer compute check 9a947ba5-f537-4681-acf3-cc66485aadec"))
@click.argument("uuid", required=False, default="")
@_AUTH
@JSON
def check(uuid: str, auth_method: str | None, as_json: bool) -> None:
    """Say whether endpoint UUID is online, and as whom you ask.

    UUID may be left out where endpoint_id is in [compute] of the configuration.
    """
    from nodexfer.integrations import compute_service

    settings = _settings(uuid, auth_method, (), None, None)
    found = compute_service.look(compute_service.connect(settings, os.environ), settings.endpoint_id)
    if as_json:
        render.show_json({**found._asdict(), "ours": found.ours})
    else:
        rows = {
            "endpoint": found.name,
            "id": found.id,
            "state": "online" if found.online else "offline",
            "host": found.host,
            "version": found.version,
            "you are": found.username,
            "identity": found.identity,
            "owner": "you" if found.ours else found.owner,
        }
        for name, value in rows.items():
            click.echo(f"{name:9} {render.printable(value or '-')}")
    compute_service.need_online(found)


@click.command(epilog=example("nodexfer compute selftest --num-jobs 5 --source site:/input UUID"))
@_asking
def selftest(settings: Settings, num_jobs: int, source: str, destination: str, as_json: bool) -> int:
    """Run jobs side by side on endpoint UUID; print what each took.

    A job holds its node, stages --source in, reads it, and stages a line of text out to --destination. The queue's time
    is what a job took from its sending to its result, less what its function took. Returns the exit code of the first
    error, or 0.
    """
    from nodexfer.integrations import compute_service, compute_trials

    client = compute_service.connect(settings, os.environ)
    compute_service.need_online(compute_service.look(client, settings.endpoint_id))

    def told(answer: compute_trials.Answer) -> None:
        how = answer.error["error"] if answer.error else "done"
        render.say(f"job {answer.number} of {num_jobs}: {how} after {answer.total:.1f} s")

    with compute_trials.executor(client, settings.endpoint_id, settings) as run:
        answers = compute_trials.trials(run, settings, num_jobs, told, source=source, destination=destination)
    if as_json:
        render.show_json([answer.as_record() for answer in answers])
    else:
        headers = ("job", "host", "queue", *compute_trials.STAGES, "total", "error")
        render.show_table(headers, [_row(answer) for answer in answers])
        for answer in answers:
            if answer.error:
                render.say(f"job {answer.number}: {answer.error['message']}")
    return next((int(answer.error["exit_code"]) for answer in answers if answer.error), 0)


def _row(answer: Any) -> tuple[object, ...]:
    from nodexfer.integrations.compute_trials import STAGES

    stages = [f"{answer.value[stage]:.1f} s" if stage in answer.value else "-" for stage in STAGES]
    error = answer.error["error"] if answer.error else "-"
    host = answer.value.get("host", "-")
    return (answer.number, host, f"{answer.queue:.1f} s", *stages, f"{answer.total:.1f} s", error)


@click.command(epilog=example("nodexfer compute diagnose -t comprehensive --source site:/input UUID"))
@click.option(
    "-t",
    "kind",
    type=click.Choice(["connectivity", "worker", "staging", "parallel", "comprehensive"]),
    default="comprehensive",
    show_default=True,
    help="What to look at; comprehensive is all of it.",
)
@_asking
def diagnose(settings: Settings, kind: str, num_jobs: int, source: str, destination: str, as_json: bool) -> int:
    """Find out what is wrong with endpoint UUID, step by step.

    One question after the other. Ends at the first answer that is bad, with what to type next; returns 1 then.
    """
    from nodexfer.integrations import compute_diagnosis, compute_service

    asked = compute_diagnosis.Asked(settings.endpoint_id, settings, source, destination, num_jobs)
    client = compute_service.connect(settings, os.environ)

    def told(finding: compute_diagnosis.Finding) -> None:
        if not as_json:
            mark = {True: "ok", False: "BAD", None: "?"}[finding.ok]
            click.echo(f"{mark:4}{finding.kind}, {finding.question}: {render.printable(finding.said)}")
            if finding.next:
                click.echo(f"    Next: {finding.next}")

    found = compute_diagnosis.diagnose(client, asked, kind, told)
    if as_json:
        render.show_json([finding._asdict() for finding in found])
    return int(any(finding.ok is False for finding in found))
