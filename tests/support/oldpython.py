"""Pythons without pidfds, as conda's, and Linux before 5.3: for this process, and for those it starts."""

from __future__ import annotations

from pathlib import Path

#: Built against old headers: neither function is there, and the kernel has both.
WITHOUT_FUNCTIONS = "import os, signal; del os.pidfd_open, signal.pidfd_send_signal"
#: Linux before 5.3.
WITHOUT_SYSTEM_CALL = """
import os

def refused(*arguments):
    raise OSError(38, "Function not implemented")

os.pidfd_open = refused
"""


def startup(directory: Path, code: str) -> dict[str, str]:
    """The environment of Pythons that run ``code`` first."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": str(directory)}
