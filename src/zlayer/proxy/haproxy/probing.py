"""Whether a usable HAProxy is installed here."""

from __future__ import annotations

import re
import shutil
import subprocess

from zlayer.proxy.contract import ProxyProbe

OLDEST = (2, 6)
FIX = "apt-get install haproxy"
NEEDED = ("OPENSSL",)
_VERSION = re.compile(r"^HAProxy version (\d+)\.(\d+)\S*", re.MULTILINE)


def probe(program: str) -> ProxyProbe:
    """Runs `haproxy -vv`. Blocks for some milliseconds."""
    if shutil.which(program) is None:
        return ProxyProbe(False, "haproxy", "HAProxy is not installed", FIX)
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
