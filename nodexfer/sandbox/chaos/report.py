"""What a run of chaos found out: the demonstration's report, and what became of every request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nodexfer.sandbox.chaos.ledger import Verdict
from nodexfer.sandbox.chaos.plan import MIB, Plan
from nodexfer.sandbox.demo.report import Report

if TYPE_CHECKING:
    from rich.console import Console


class ChaosReport(NamedTuple):
    """``told`` is as the demonstration tells it. ``dealt`` and ``missed`` count blows, ``killed`` attempts of jobs.

    ``evidence`` is the directory of what is kept of a run that went wrong (:mod:`nodexfer.sandbox.chaos.evidence`).
    """

    told: Report
    plan: Plan
    verdict: Verdict
    killed: int
    dealt: int
    missed: int
    disk_filled: bool
    evidence: str | None = None

    @property
    def lost(self) -> tuple[str, ...]:
        """Requests without a named end, and jobs that did not get their results."""
        return self.verdict.lost + self.told.problems

    @property
    def ok(self) -> bool:
        """No byte wrong, no request lost, nothing left, nothing called done that was not; and it was not idle."""
        told = self.told
        return (
            not (told.mismatches or self.lost or self.verdict.false)
            and not (told.left_processes or told.left_leases or told.left_files)
            and told.endpoints_live_max == 1
            and all(row.verified and row.exit_code == 0 for row in told.jobs)
        )

    def as_record(self) -> dict[str, Any]:
        return {
            **self.told.as_record(),
            "ok": self.ok,
            "seed": self.plan.seed,
            "requests": self.verdict.requests,
            "requests_lost": len(self.lost),
            "false_successes": len(self.verdict.false),
            "errors": self.verdict.errors,
            "lost": list(self.lost),
            "false": list(self.verdict.false),
            "jobs_killed": self.killed,
            "blows": self.dealt,
            "blows_missed": self.missed,
            "disk_filled": self.disk_filled,
            "evidence": self.evidence,
            "plan": self.plan.as_record(),
        }


def show(report: ChaosReport, console: Console) -> None:
    """A few lines, at most 80 columns wide but for what went wrong."""
    told, verdict = report.told, report.verdict
    record = report.as_record()
    console.print()
    lines = [
        f"chaos       seed {report.plan.seed}: {report.dealt} blows, {report.killed} times a job was killed",
        f"requests    {verdict.requests}, lost {len(report.lost)}, false successes {len(verdict.false)}",
        f"errors      {', '.join(f'{count} {name}' for name, count in verdict.errors.items()) or 'none'}",
        f"endpoints   {told.endpoints_started} started, {told.takeovers} take-overs, each live once at most"
        if told.endpoints_live_max == 1
        else f"endpoints   one was live {told.endpoints_live_max} times at once",
        f"left behind {len(record['left']) or 'nothing'}",
    ]
    wrong = [*record["left"], *report.lost, *verdict.false]
    wrong += [f"job {row.job}: {text}" for row in told.jobs for text in row.mismatches]
    for line in [*lines, *(f"wrong       {text}" for text in wrong[:20])]:
        console.print(line, soft_wrap=True, markup=False)
    if report.evidence is not None:
        console.print(f"evidence    {report.evidence}", soft_wrap=True, markup=False)
    if report.ok:
        moved = f"{record['files']} files, {record['bytes'] / MIB:.0f} MiB"
        console.print(f"[bold green]proven[/]      {moved}: every byte compared, in {told.seconds:.0f} s")
