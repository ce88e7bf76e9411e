"""The jobs: scripts as users write them, at several places; run again until the results are there."""

from __future__ import annotations

from collections.abc import Mapping

from nodexfer.sandbox.chaos.plan import JobPlan
from nodexfer.sandbox.chaos.program import NO_SPACE
from nodexfer.sandbox.demo.jobs import Job
from nodexfer.sandbox.demo.site import SHARED, Site
from nodexfer.sandbox.demo.stage import Stage

_PROGRAM = '"$NODEXFER_DEMO_PYTHON" -m nodexfer.sandbox.chaos.program "$WITNESS"'

#: An earlier attempt may have sent its results before it was killed: --overwrite; and a manifest, since what is there
#: would be gone into.
_SEND = f"""\
printf 'results\\tsite:/results/%s\\n' "$NUMBER" > outputs.tsv || exit {NO_SPACE}
nodexfer stage-out --overwrite --manifest outputs.tsv
"""

_RUN = f"""\
set -e
nodexfer run --overwrite --in "site:/runs/$NUMBER=own" --in "site:/{SHARED}=reference.bin" \\
    --out "results=site:/results/$NUMBER" -- {_PROGRAM}
"""

_STEPS = f"""\
set -e
eval "$(nodexfer acquire)"
cd "$NODEXFER_SCRATCH"
nodexfer stage-in "site:/runs/$NUMBER" "$NODEXFER_SCRATCH/own"
nodexfer stage-in "site:/{SHARED}" "$NODEXFER_SCRATCH/"
{_PROGRAM}
{_SEND}nodexfer release
"""

_MANIFEST = f"""\
set -e
eval "$(nodexfer acquire)"
cd "$NODEXFER_SCRATCH"
mkdir own || exit {NO_SPACE}
nodexfer stage-in --manifest "$MANIFEST"
{_PROGRAM}
{_SEND}nodexfer release
"""

_SCRIPTS = {"run": _RUN, "steps": _STEPS, "manifest": _MANIFEST}


class ChaosJob(Job):
    """``killed`` holds the ids of the attempts that we killed."""

    def __init__(self, plan: JobPlan, stage: Stage, site: Site, environment: Mapping[str, str]) -> None:
        super().__init__(plan.number, stage, site, environment)
        self.plan = plan
        self.killed: list[str] = []

    @property
    def id(self) -> str:
        return f"chaos-{self.number}.{self.attempt}"

    @property
    def witness(self) -> str:
        """One for all attempts: the results are the same, and the last that wrote them is the one that is compared."""
        return f"{self._stage.logs}/chaos-{self.number}.witness"

    @property
    def script(self) -> str:
        return _SCRIPTS[self.plan.form]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.poll() is None

    def kill(self) -> None:
        if self.runs:
            self.killed.append(self.id)
        super().kill()
