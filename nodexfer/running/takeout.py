"""The outputs, once the program has ended: sent, or saved where the time, or Globus, does not allow it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from nodexfer.clock import Deadline
from nodexfer.errors import DeadlinePassed, Interrupted, NodexferError
from nodexfer.running import program, rescue, walltime
from nodexfer.running.outputs import Out, measure
from nodexfer.running.timing import Timing
from nodexfer.running.walltime import Load
from nodexfer.running.work import Talk, Work
from nodexfer.session import Node
from nodexfer.staging import copying
from nodexfer.staging.plan import Send

if TYPE_CHECKING:
    from nodexfer.staging.client import Client
    from nodexfer.staging.receipt import Receipt

#: What a scheduler that has sent TERM waits before KILL, at least (s): OpenPBS 10, Slurm 30.
_KILL_WAIT_SECONDS = 8.0


class TakeOut:
    """``sent`` and ``saved`` are records of what was done, for ``--json``; ``safe``: nothing that is there is lost."""

    def __init__(
        self, node: Node, work: Work, talk: Talk, timing: Timing, signals: program.Signals, ended: program.Ended
    ) -> None:
        self._node, self._work, self._talk, self._timing, self._signals = node, work, talk, timing, signals
        self._ended = ended
        self.sent: dict[str, Any] | None = None
        self.saved: list[dict[str, Any]] = []
        self.safe = True

    def save(self, outcome: str) -> NodexferError | None:
        """Save what is to be kept after ``outcome``, in the seconds between TERM and KILL; the error that says so."""
        sends = [out.send for out in self._chosen(outcome)]
        if not sends:
            return None
        told = Interrupted("The job was told to end (SIGTERM), so that nothing was sent.", "")
        return self._save(sends, told, Deadline(_KILL_WAIT_SECONDS))

    def take(self, outcome: str, late: str) -> NodexferError | None:
        """Send or save what is to be kept after ``outcome``; what went wrong with that.

        :param late: the sentence that begins an error for want of time.
        """
        outs = self._chosen(outcome)
        if not outs:
            return None
        loads = [measure(out.send.source) for out in outs]
        sends = [out.send for out in outs]
        plan = walltime.plan(loads, self._timing.pace, self._timing.window(walltime.total(loads)))
        self._talk.say(f"stage-out: {plan.words}")
        error = None
        if plan.save:
            too_late = DeadlinePassed(f"{late}: too late to send all of its outputs.", "")
            error = self._save([sends[number] for number in plan.save], too_late)
        if plan.send:
            load = walltime.total([loads[number] for number in plan.send])
            error = self._send([sends[number] for number in plan.send], load) or error
        return error

    def _chosen(self, outcome: str) -> list[Out]:
        """A program that failed or was stopped may not have come to write all of them."""
        outs = [out for out in self._work.outs if walltime.wanted(out.policy, outcome)]
        if outcome == walltime.SUCCESS:
            return outs
        for out in outs:
            if not out.exists:
                self._talk.say(f"stage-out: {out.send.source} was not written")
        return [out for out in outs if out.exists]

    def _send(self, sends: Sequence[Send], load: Load) -> NodexferError | None:
        from nodexfer.staging.send import send

        try:
            with self._talk.progress("stage-out") as show:
                who = self._node.client(
                    wait_endpoint=self._work.wait_endpoint,
                    route=self._work.route,
                    on_progress=show,
                    deadline=time.time() + self._timing.window(load),
                )
                receipt = send(who._replace(grace=self._timing.spare()), sends, **self._work.moves)
        except Interrupted as error:
            if isinstance(error.__cause__, KeyboardInterrupt):
                self.safe = False
                return error
            return self._save(sends, error, Deadline(_KILL_WAIT_SECONDS))
        except NodexferError as error:
            return self._save(sends, error)
        except OSError as error:  # of this node's disk, full perhaps: the outputs go to another one
            return self._save(sends, copying.named(error, "The outputs could not be sent"))
        self.sent = self._noted(who, receipt, sends).as_record()
        self._talk.done("stage-out", receipt)
        return None

    def _save(self, sends: Sequence[Send], why: NodexferError, deadline: Deadline | None = None) -> NodexferError:
        """Save what could not be sent, so far as it is there; the error that says both."""
        there = [send for send in sends if os.path.lexists(send.source)]
        if not there:
            return why
        self._signals.saving = True
        seconds = self._timing.left - self._timing.spare()
        end = time.time() + (seconds if deadline is None else min(seconds, deadline.left))
        flags = {name: self._work.flag(name) for name in ("overwrite", "merge")}
        try:
            with self._talk.progress("saving") as show:
                who = self._node.client(on_progress=show, deadline=end)
                saved = rescue.save(who, there, end, first=self._work.first, **flags)
        except NodexferError as error:
            self.safe = False
            return type(why)(sentences(why.message, error.message), error.next)
        finally:
            self._signals.saving = False
        self.saved.append(self._noted(who, saved.receipt, there).as_record())
        self.safe = self.safe and not saved.receipt.unsaved
        return type(why)(sentences(why.message, saved.words), saved.next)

    def _noted(self, who: Client, receipt: Receipt, sends: Sequence[Send]) -> Receipt:
        """The receipt, with what is known of the program; where that can not be written, it stays as it is."""
        from nodexfer.staging import receipt as receipts

        on_exit = {out.send.source: out.policy for out in self._work.outs if out.send in sends}
        program = receipts.Program(self._ended.code, self._ended.stopped, on_exit)
        noted = msgspec.structs.replace(receipt, program=program)
        try:
            return receipts.write(who.config.home_paths, noted)
        except NodexferError:
            return noted


def sentences(*texts: str) -> str:
    """One after the other; what another program said may lack its full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts)
