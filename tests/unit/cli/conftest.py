"""The command line in this process, against a scripted daemon."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.cli.main import main
from zlayer.testing.api_samples import Cli, Ran
from zlayer.testing.scripted_daemon import ScriptedDaemon


@pytest.fixture
def daemon() -> Iterator[ScriptedDaemon]:
    with ScriptedDaemon() as running:
        yield running


@pytest.fixture
def cli(daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line for `daemon`; gives its exit code and what it printed."""
    for name in ("ZLAYER_HOST", "ZLAYER_TOKEN", "CLICOLOR_FORCE", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZLAYER_DATA_DIR", str(daemon.data_dir))

    def run(*argv: str) -> Ran:
        capfd.readouterr()
        code = main(list(argv))
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run
