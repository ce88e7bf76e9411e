"""What the tests of an endpoint run on its workers. Each travels as its own text: it names nothing from outside itself.

They give plain data, and of nodexfer's errors their records: whatever is there or not, the answer can be read.


Their annotations are evaluated where they arrive: built-in names only, outside of functions.
"""

from typing import Any


def hello() -> dict[str, object]:
    """Where it runs, and what is there; nothing of nodexfer has to be."""
    import os
    import shutil
    import socket
    import sys
    import time

    began = time.monotonic()
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "python": ".".join(str(number) for number in sys.version_info[:3]),
        "executable": sys.executable,
        "block": os.environ.get("PARSL_WORKER_BLOCK_ID", ""),
        "rank": os.environ.get("PARSL_WORKER_RANK", ""),
        "broken": os.environ.get("NODEXFER_BROKEN", ""),
        "held": bool(os.environ.get("NODEXFER_HOLD")),
        "proxy": os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY") or "",
        "nodexfer": "",
        "node_dir": "",
        "free": 0,
    }
    try:
        import nodexfer
        from nodexfer.config import load

        config = load()
        found["nodexfer"] = nodexfer.__version__
        found["node_dir"] = config.node_dir
        found["free"] = shutil.disk_usage(os.path.dirname(config.node_dir)).free
    except Exception as error:  # noqa: BLE001 (it is what is told)
        found["missing"] = f"{type(error).__name__}: {error}"
    found["seconds"] = time.monotonic() - began
    return found


def trial(number: int, source: str, destination: str, endpoint: bool) -> dict[str, object]:
    """One job: hold, stage in, read, write, stage out; how long each took, and what failed at which stage."""
    import contextlib
    import hashlib
    import pathlib
    import socket
    import sys
    import tempfile
    import time

    began = time.monotonic()
    found: dict[str, Any] = {"number": number, "host": socket.gethostname(), "bytes": 0, "error": None, "stage": ""}

    def stage(name: str) -> None:
        now = time.monotonic()
        if found["stage"]:
            found[found["stage"]] = now - found["since"]
        found["stage"], found["since"] = name, now

    try:
        stage("hold")
        try:
            import nodexfer
        except ImportError as error:
            said = f"nodexfer is not installed for {sys.executable} on {found['host']}."
            missing: Any = RuntimeError(said)
            install = f"{sys.executable} -m pip install nodexfer"
            record = {"error": "NodexferMissing", "message": said, "next": install, "exit_code": 16}
            missing.as_record = lambda: record
            raise missing from error
        with nodexfer.hold() as node, contextlib.ExitStack() as stack:
            if endpoint:
                stage("endpoint")
                node.endpoint()
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="trial-", dir=node.scratch))
            if source:
                stage("stage-in")
                found["bytes"] = node.stage_in(source, f"{own}/input").bytes
            stage("run")
            total = hashlib.sha256()
            for path in sorted(pathlib.Path(own).rglob("*")):
                total.update(path.read_bytes() if path.is_file() else b"")
            pathlib.Path(own, "result").write_text(f"{number} {total.hexdigest()}\n")
            if destination:
                stage("stage-out")
                there = f"{destination.rstrip('/')}/nodexfer-trial-{number}"
                node.stage_out({f"{own}/result": there}, overwrite=True)
            stage("release")
        stage("")
    except Exception as error:  # noqa: BLE001 (it is what is told)
        failed = found["stage"]
        stage(failed)
        plain = {"error": type(error).__name__, "message": str(error), "next": "", "exit_code": 1}
        found["error"] = error.as_record() if hasattr(error, "as_record") else plain
    found.pop("since", None)
    found["seconds"] = time.monotonic() - began
    return found
