"""Slurm on these machines: its configuration, its daemons, its answers. Seen to work with 22.05."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from tests.cluster.machine import Machine
from tests.cluster.packages import CanNotTest
from tests.support import eventually

CLUSTER = "lab"
CPUS = 8
#: Seconds from TERM to KILL.
KILL_WAIT = 3
_NET = "10.213.7"
_READY_SECONDS = 60.0


def configuration(shared: str, nodes: int, *, proctrack: str, private_tmp: bool) -> str:
    """slurm.conf(5).

    config_overrides: CPUs that are not there. cred_expire: how long a requeued job waits, 5 s at least.
    PropagateResourceLimits: slurmd may not be allowed to raise them. ReturnToService: a node that comes is taken.
    """
    container = "JobContainerType=job_container/tmpfs\nPrologFlags=Contain\n" if private_tmp else ""
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost=head({_NET}.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={shared}/munge/socket,cred_expire=5
StateSaveLocation={shared}/state
SlurmdSpoolDir={shared}/spool/%n
SlurmctldPidFile={shared}/run/slurmctld.pid
SlurmdPidFile={shared}/run/slurmd-%n.pid
SlurmctldLogFile={shared}/log/slurmctld.log
SlurmdLogFile={shared}/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
SlurmdParameters=config_overrides
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=1000,batch_sched_delay=0
PropagateResourceLimits=NONE
ReturnToService=2
SlurmctldTimeout=120
SlurmdTimeout=60
InactiveLimit=0
MinJobAge=300
KillWait={KILL_WAIT}
UnkillableStepTimeout=60
Waittime=0
JobRequeue=1
{container}\
NodeName=n[1-{nodes}] NodeAddr={_NET}.[11-{10 + nodes}] CPUs={CPUS} CoresPerSocket={CPUS} RealMemory=4000
PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
"""


#: An unknown key is fatal to both daemons.
CGROUP = """\
CgroupAutomount=no
CgroupMountpoint=/sys/fs/cgroup
CgroupPlugin=autodetect
IgnoreSystemd=yes
IgnoreSystemdOnFailure=yes
"""
#: Each job's /tmp and /dev/shm (job_container.conf(5)).
CONTAINER = "AutoBasePath=true\nBasePath=/var/tmp/private\n"


def hosts(nodes: int) -> str:
    lines = ["127.0.0.1 localhost", f"{_NET}.1 head"]
    return "\n".join([*lines, *(f"{_NET}.{10 + number} n{number}" for number in range(1, nodes + 1))]) + "\n"


def wire(head: Machine, nodes: Sequence[Machine]) -> None:
    """A bridge in the head's network namespace, and a cable to each node. This machine's own network has no part."""
    _must(head, "ip", "link", "set", "lo", "up")
    _must(head, "ip", "link", "add", "br0", "type", "bridge")
    _must(head, "ip", "addr", "add", f"{_NET}.1/24", "dev", "br0")
    _must(head, "ip", "link", "set", "br0", "up")
    for number, node in enumerate(nodes, 1):
        # Inside the head's pid namespace the node's process has no number: its namespace is named by this machine's.
        plug = ["nsenter", "--target", str(head.pid), "--net", "--"]
        cable = ["ip", "link", "add", f"c{number}", "type", "veth", "peer", "name", "eth0", "netns", str(node.pid)]
        _must(None, *plug, *cable)
        _must(head, "ip", "link", "set", f"c{number}", "master", "br0", "up")
        _must(node, "ip", "link", "set", "lo", "up")
        _must(node, "ip", "addr", "add", f"{_NET}.{10 + number}/24", "dev", "eth0")
        _must(node, "ip", "link", "set", "eth0", "up")


def _must(machine: Machine | None, *argv: str) -> None:
    from nodexfer import procs
    from tests.cluster.packages import PATH

    done = procs.run(argv, timeout=20.0, environ={"PATH": PATH}) if machine is None else machine.run(*argv)
    if done.code != 0:
        raise CanNotTest(f"{' '.join(argv)} was refused: {done.err.strip()}")


def start(head: Machine, nodes: Sequence[Machine], shared: str) -> None:
    """munged and slurmctld on the head, a slurmd on each node; back when all nodes are idle.

    :raises CanNotTest: they are not within a minute; the message has what the daemons say.
    """
    munge = f"{shared}/munge"
    with open(os.open(f"{munge}/key", os.O_WRONLY | os.O_CREAT, 0o400), "wb") as file:
        file.write(os.urandom(128))
    files = [f"--{name}={munge}/{file}" for name, file in _MUNGE_FILES]
    # The socket lies on the shared file system: a Unix socket with a path is reached from any namespace.
    head.daemon("munged", "--foreground", "--num-threads=2", *files)
    eventually(lambda: os.path.exists(f"{munge}/socket"))
    head.daemon("slurmctld", "-D", "-i")
    for node in nodes:
        node.daemon("slurmd", "-D", "-N", node.name)
    try:
        eventually(lambda: _idle(head) == len(nodes), _READY_SECONDS, every=0.1)
    except AssertionError:
        raise CanNotTest(f"Slurm did not come up: {complaints(shared)}") from None


_MUNGE_FILES = [
    ("key-file", "key"),
    ("socket", "socket"),
    ("pid-file", "pid"),
    ("log-file", "log"),
    ("seed-file", "seed"),
]


def _idle(head: Machine) -> int:
    # sinfo blocks for ten seconds where slurmctld is not there.
    done = head.run("timeout", "2", "sinfo", "-h", "-N", "-t", "idle", "-o", "%N")
    return len(done.out.split())


def complaints(shared: str) -> str:
    """The last lines in the logs of the daemons that speak of an error. (What a first start does not find is none.)"""
    lines = []
    for path in sorted(glob.glob(f"{shared}/log/*.log")):
        with open(path, encoding="utf-8", errors="replace") as file:
            lines += [
                line.strip()
                for line in file
                if re.search("fatal|error", line) and not re.search("pmi|MPI|MailProg|state file|state save", line)
            ]
    return "\n".join(lines[-15:])


def remove_cgroups() -> None:
    """What proctrack/cgroup made for our nodes (empty by now) on this machine's hierarchies."""
    for top in [*glob.glob("/sys/fs/cgroup/*/slurm_n[0-9]"), *glob.glob("/sys/fs/cgroup/slurm_n[0-9]")]:
        for where, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(where)
            except OSError:
                pass
