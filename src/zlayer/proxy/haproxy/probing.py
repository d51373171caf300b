"""Whether a usable HAProxy is installed here."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from zlayer.proxy.contract import ProxyProbe

OLDEST = (2, 6)
FIX = "apt-get install haproxy"
NEEDED = ("OPENSSL",)
_VERSION = re.compile(r"^HAProxy version (\d+)\.(\d+)\S*", re.MULTILINE)


_good: dict[tuple[str, int, int], ProxyProbe] = {}
"""By path, inode and time of the program: deploys ask each time."""


def probe(program: str) -> ProxyProbe:
    """Runs `haproxy -vv`, once for a program that is good. Blocks for some milliseconds."""
    path = shutil.which(program)
    if path is None:
        return ProxyProbe(False, "haproxy", "HAProxy is not installed", FIX)
    seen = Path(path).stat()
    key = (path, seen.st_ino, seen.st_mtime_ns)
    if key not in _good:
        found = _asked(path)
        if not found.ok:
            return found
        _good[key] = found
    return _good[key]


def _asked(program: str) -> ProxyProbe:
    try:
        said = subprocess.run([program, "-vv"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return ProxyProbe(False, "haproxy", f"HAProxy does not run: {error}", FIX)
    return judge(said)


def judge(said: str) -> ProxyProbe:
    """What `haproxy -vv` said, judged."""
    found = _VERSION.search(said)
    if found is None:
        return ProxyProbe(False, "haproxy", "HAProxy does not tell its version", FIX)
    engine = f"haproxy {found[0].split()[2].partition('-')[0]}"
    oldest = ".".join(map(str, OLDEST))
    if (int(found[1]), int(found[2])) < OLDEST:
        return ProxyProbe(False, engine, f"{engine} is older than {oldest}", f"install HAProxy {oldest} or newer")
    if missing := [name for name in NEEDED if f"+{name}" not in said]:
        return ProxyProbe(False, engine, f"{engine} was built without {', '.join(missing)}", FIX)
    return ProxyProbe(True, engine)
