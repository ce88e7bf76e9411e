from __future__ import annotations

import io

from rich.console import Console

from nodexfer.sandbox.demo.narrate import DONE, MIB, JobView, Narrator


def told(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, highlight=False, color_system=None)
    with Narrator(console) as narrator:
        narrator.say("five jobs start [not markup]")
        narrator.board([JobView(1, True, "moving", 5 * MIB, 10 * MIB), JobView(2, False, DONE, 0, 0)])
        if narrator._live is not None:
            narrator._live.refresh()
    return out.getvalue()


def test_a_log_gets_one_line_for_each_event_and_no_board() -> None:
    assert told(terminal=False).split("s  ", 1)[1] == "five jobs start [not markup]\n"


def test_a_terminal_gets_a_board_with_the_leader_and_what_has_moved() -> None:
    text = told(terminal=True)
    assert "five jobs start [not markup]" in text
    assert "leads" in text
    assert "5 MiB" in text
    assert "done" in text
