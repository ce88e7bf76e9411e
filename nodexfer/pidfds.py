"""Watching and signalling processes by pidfd_open(2) and pidfd_send_signal(2), whatever Python and kernel there are.

Python leaves out what the C library's headers lacked when it was built: conda's has neither function, on any kernel.
The numbers of these system calls are the same on all architectures that compute nodes have (asm-generic/unistd.h).
"""

from __future__ import annotations

import os
import signal
import time

from nodexfer.clock import Deadline
from nodexfer.identity import ProcessId, pid_namespace

#: Between two looks at a process that can not be watched.
LOOK_SECONDS = 0.05
_SEND_SIGNAL, _OPEN = 424, 434


def watch(process: ProcessId) -> int | None:
    """A descriptor that becomes readable when ``process`` ends (even as a zombie); None when it has ended.

    The caller closes it.

    :raises ValueError: it can not be watched: it is of another pid namespace, the kernel is older than 5.3, or no
        descriptor is left. Look at ``process.alive`` now and then.
    """
    if process.namespace != pid_namespace():
        raise ValueError(f"process {process.pid} belongs to another pid namespace")
    try:
        descriptor = open_pidfd(process.pid)
    except ProcessLookupError:
        return None
    except OSError as error:
        if not process.alive:  # the number may be a thread's by now, which has no pidfd
            return None
        raise ValueError(f"process {process.pid} can not be watched: {error.strerror}") from error
    if process.alive:  # the number may have been used again: compared after it can not change any more
        return descriptor
    os.close(descriptor)
    return None


def wait_end(process: ProcessId, seconds: float) -> bool:
    """Has ``process`` ended, now or within ``seconds``? One that can not be watched is looked at 20 times a second."""
    deadline = Deadline(seconds)
    try:
        descriptor = watch(process)
    except ValueError:
        while process.alive and not deadline.passed:
            time.sleep(min(LOOK_SECONDS, deadline.left))
        return not process.alive
    if descriptor is None:
        return True
    try:
        return readable(descriptor, deadline.left)
    finally:
        os.close(descriptor)


def readable(descriptor: int, seconds: float) -> bool:
    """Is there something to be read, or the end, within ``seconds``? Handlers of signals run meanwhile."""
    from select import POLLIN, poll

    waiting = poll()
    waiting.register(descriptor, POLLIN)
    return bool(waiting.poll(seconds * 1000))


def open_pidfd(pid: int) -> int:
    """A descriptor, closed on exec, that becomes readable when process ``pid`` ends.

    :raises ProcessLookupError: there is no such process.
    :raises OSError: ENOSYS before Linux 5.3; EMFILE, ENFILE; EPERM from a container's filter.
    """
    if hasattr(os, "pidfd_open"):
        return os.pidfd_open(pid)
    return _call(_OPEN, pid, 0)


def send(descriptor: int, signum: int) -> None:
    """Send ``signum`` to the process of ``descriptor``.

    :raises ProcessLookupError: it has ended. :raises PermissionError: it is not ours.
    """
    if hasattr(signal, "pidfd_send_signal"):
        signal.pidfd_send_signal(descriptor, signum)
    else:
        _call(_SEND_SIGNAL, descriptor, signum, None, 0)


def _call(number: int, *arguments: int | None) -> int:
    import ctypes

    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    done = int(call(ctypes.c_long(number), *(None if word is None else ctypes.c_long(word) for word in arguments)))
    if done < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return done
