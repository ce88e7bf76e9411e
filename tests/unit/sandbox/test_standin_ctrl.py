"""The stand-in's gc-ctrl.py where those who ask it go away at the wrong moment."""

from __future__ import annotations

import os
import selectors
import socket
from pathlib import Path

from nodexfer.sandbox.standin import ctrl
from nodexfer.sandbox.standin.children import Child


def test_who_asks_and_dies_as_the_answer_comes_does_not_end_gcp(tmp_path: Path) -> None:
    out, says = os.pipe()
    child = Child(1, -1, out, -1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "address"))
        listener.listen()
        daemon = ctrl._Daemon("gc.py", [], listener, debug=False)
        for read in (listener, out):
            daemon._selector.register(read, selectors.EVENT_READ)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(str(tmp_path / "address"))
            asking.sendall(b"status\n")
            assert daemon._turn(child, None)  # it is let in
            assert daemon._turn(child, None)  # and asks
            os.write(says, b"#gridftp 0\n")
            assert daemon._turn(child, None)  # the kernel names first who had something to say last time
            os.write(says, b"#relaytool connected\n")
        assert daemon._turn(child, None)
        assert not daemon._clients
        daemon._selector.close()
    os.close(says)
    os.close(out)
