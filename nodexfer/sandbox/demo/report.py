"""What the demonstration found out: measured values, as data and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

MIB = 1024 * 1024


class Row(NamedTuple):
    """One job. ``waited`` in seconds, for an endpoint and in Globus's queue; ``attempts`` is 2 where it was killed."""

    job: int
    attempts: int
    exit_code: int | None
    waited: float
    seconds: float
    files_in: int
    bytes_in: int
    files_out: int
    bytes_out: int
    verified: bool
    task_ids: tuple[str, ...]
    mismatches: tuple[str, ...]


class Report(NamedTuple):
    """``takeover`` is the one after the kill: ``killed``, ``by``, ``leads_after`` and ``ready_after`` (seconds)."""

    jobs: tuple[Row, ...]
    endpoints_started: int
    endpoints_live_max: int
    takeovers: int
    takeover: dict[str, Any] | None
    left_processes: tuple[str, ...]
    left_leases: tuple[str, ...]
    left_files: tuple[str, ...]
    problems: tuple[str, ...]
    seconds: float
    directory: str | None

    @property
    def mismatches(self) -> int:
        return sum(len(row.mismatches) for row in self.jobs)

    @property
    def tasks(self) -> int:
        return len({task for row in self.jobs for task in row.task_ids})

    @property
    def ok(self) -> bool:
        """Every byte proven, one endpoint, taken over, nothing left."""
        return (
            not self.problems
            and all(row.verified and row.exit_code == 0 and row.task_ids for row in self.jobs)
            and self.takeovers >= 1
            and self.takeover is not None
            and self.endpoints_live_max == 1
            and not (self.left_processes or self.left_leases or self.left_files)
        )

    def as_record(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "jobs": [row._asdict() for row in self.jobs],
            "endpoints_started": self.endpoints_started,
            "endpoints_live_max": self.endpoints_live_max,
            "takeovers": self.takeovers,
            "takeover": self.takeover,
            "files": sum(row.files_in + row.files_out for row in self.jobs),
            "bytes": sum(row.bytes_in + row.bytes_out for row in self.jobs),
            "mismatches": self.mismatches,
            "tasks": self.tasks,
            "leftover_processes": len(self.left_processes),
            "leftover_leases": len(self.left_leases),
            "leftover_files": len(self.left_files),
            "left": [*self.left_processes, *self.left_leases, *self.left_files],
            "problems": list(self.problems),
            "seconds": round(self.seconds, 2),
            "directory": self.directory,
        }


def show(report: Report, console: Console) -> None:
    """The table and the sentences below it, at most 80 columns wide."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("job", no_wrap=True)
    for name in ("waited", "in", "out"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verified", no_wrap=True)
    table.add_column("task ids")
    for row in report.jobs:
        table.add_row(
            f"{row.job}" + (" killed, again" if row.attempts > 1 else ""),
            f"{row.waited:.1f} s",
            _files(row.files_in, row.bytes_in),
            _files(row.files_out, row.bytes_out),
            "[green]every byte[/]" if row.verified else "[bold red]no[/]",
            " ".join(task[:8] for task in row.task_ids),
        )
    with console.capture() as shown:
        console.print(table)
    # rich fills every line up to the table's width.
    console.file.write("\n" + "".join(f"{line.rstrip()}\n" for line in shown.get().splitlines()) + "\n")
    for line in _sentences(report):
        console.print(line, soft_wrap=True)


def _files(count: int, size: int) -> str:
    return f"{count} files {size / MIB:.0f} MiB"


def _sentences(report: Report) -> list[str]:
    record = report.as_record()
    lines = []
    lines.append(
        f"endpoint    {report.endpoints_started} started one after the other, at most "
        f"{report.endpoints_live_max} live at a time, for {len(report.jobs)} jobs and {report.tasks} tasks"
    )
    over = report.takeover
    if over is not None:
        lines.append(
            f"take-over   {report.takeovers}: job {over['by']} led {over['leads_after'] * 1000:.0f} ms after job "
            f"{over['killed']} was killed; the endpoint was ready again after {over['ready_after']:.1f} s"
        )
    left = record["left"]
    lines.append(f"left behind {'nothing: no process, no lease, no file' if not left else ''}".rstrip())
    lines += [f"            [red]{_plain(item)}[/]" for item in left[:10]]
    lines += [f"[red]wrong       {_plain(text)}[/]" for text in _wrong(report)[:10]]
    if report.ok:
        moved = f"{record['files']} files, {record['bytes'] / MIB:.0f} MiB"
        lines.append(f"[bold green]proven[/]      {moved}: every byte compared, in {report.seconds:.1f} s")
    if report.directory is not None:
        lines.append(f"kept        {report.directory}")
    return lines


def _wrong(report: Report) -> list[str]:
    lines = list(report.problems)
    for row in report.jobs:
        lines += [f"job {row.job}: {text}" for text in row.mismatches]
        if not row.task_ids:
            lines.append(f"job {row.job}: no receipt names a task")
    if report.takeovers < 1 or report.takeover is None:
        lines.append("nobody took over")
    if report.endpoints_live_max != 1:
        lines.append(f"{report.endpoints_live_max} endpoints were live at a time")
    return lines


def _plain(text: str) -> str:
    """For rich: brackets in a file's name are no markup."""
    return text.replace("[", r"\[")
