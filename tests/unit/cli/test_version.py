from __future__ import annotations

import json

from zlayer import __version__
from zlayer.testing.api_samples import Cli


def test_version_needs_no_daemon(cli: Cli) -> None:
    assert cli("version").out == f"zlayer {__version__}\n"
    assert json.loads(cli("version", "--format", "json").out)["version"] == __version__
