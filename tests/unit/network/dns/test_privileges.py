from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, socket
from zlayer.network.dns import privileges
privileges.drop()
socket.socket().bind(("127.0.0.1", 0))
own = socket.socket()
own.bind(("127.9.8.7", 53))
print(os.getuid(), os.getgroups(), os.access("/root", os.R_OK))
try:
    os.setuid(0)
except PermissionError:
    print("no way back")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it gives root's rights up")
def test_nothing_is_left_but_port_53() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["65534 [] False", "no way back"], done.stderr
