from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from zlayer import __version__
from zlayer.cli import main as entry
from zlayer.model import errors
from zlayer.testing.api_samples import Cli, deployment
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, error_answer

DEPLOYMENTS = "GET /api/v1/deployments"
HEAVY = {
    "argparse", "asyncio", "anyio", "dataclasses", "hashlib", "http.client", "inspect", "pathlib", "pydantic", "ssl",
    "subprocess", "urllib", "yaml", "zlayer.model.errors", "zlayer.spec",
}  # fmt: skip


def imported(daemon: ScriptedDaemon, *argv: str) -> set[str]:
    """What a whole command has loaded when it ends."""
    code = "import sys; from zlayer.cli.main import main; main(sys.argv[1:]);sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, *argv], env=daemon.environ, capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_help_loads_nothing_but_what_it_prints(daemon: ScriptedDaemon) -> None:
    loaded = imported(daemon, "--help")
    assert {name for name in loaded if name.startswith("zlayer")} == {
        "zlayer", "zlayer.cli", "zlayer.cli.main", "zlayer.cli.help", "zlayer.cli.verbs",
    }  # fmt: skip
    assert not loaded & (HEAVY | {"socket", "json", "typing", "re"})


@pytest.mark.parametrize("argv", [("ps",), ("ps", "-c"), ("ps", "--format", "json"), ("ps", "-q")])
def test_ps_loads_nothing_heavy(daemon: ScriptedDaemon, argv: tuple[str, ...]) -> None:
    daemon.routes |= {DEPLOYMENTS: Answer([deployment()]), "GET /api/v1/instances": Answer([])}
    loaded = imported(daemon, *argv)
    assert "zlayer.cli.ps" in loaded
    assert not loaded & (HEAVY - {"argparse"} | {"shutil"})


@pytest.mark.parametrize("verb", ["status", "events", "image", "runtimes", "logs", "stop", "scale", "version"])
def test_no_verb_loads_pydantic_or_asyncio_to_show_its_help(daemon: ScriptedDaemon, verb: str) -> None:
    assert not imported(daemon, verb, "--help") & {"asyncio", "anyio", "pydantic", "http.client", "yaml"}


def test_without_a_verb_the_help(cli: Cli) -> None:
    done = cli()
    assert (done.code, done.err) == (0, "")
    assert done.out == cli("--help").out == cli("-h").out
    assert "zlayer up" in done.out.splitlines()[2]


def test_version(cli: Cli) -> None:
    assert cli("--version").out == f"zlayer {__version__}\n"


def test_an_unknown_verb_suggests_the_nearest(cli: Cli) -> None:
    done = cli("pss")
    assert (done.code, done.out) == (2, "")
    assert done.err == "zlayer: no verb 'pss'; did you mean `zlayer ps`?\n"
    assert "see `zlayer --help`" in cli("qqqqqq").err


def test_an_option_without_a_verb_is_a_usage_error(cli: Cli) -> None:
    assert cli("--frobnicate").code == 2


def test_a_wrong_option_is_a_usage_error_and_nothing_is_abbreviated(cli: Cli) -> None:
    assert cli("ps", "--frobnicate").code == 2
    assert cli("ps", "--cont").code == 2


def test_help_of_a_verb_starts_with_examples(cli: Cli) -> None:
    done = cli("ps", "--help")
    assert done.code == 0
    assert done.out.index("examples:") < done.out.index("options:")


def test_global_options_stand_before_or_after_the_verb(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[DEPLOYMENTS] = Answer([])
    there = str(daemon.data_dir)
    assert cli("--data-dir", there, "--no-color", "ps").code == 0
    assert cli("ps", "--data-dir", there, "-v").code == 0
    assert cli(f"--data-dir={there}", "-v", "ps").code == 0


def test_dash_v_before_run_is_no_volume() -> None:
    assert entry.split(["-v", "--data-dir", "/d", "run", "-v", "/a:/b", "img"]) == (
        ["--verbose", "--data-dir", "/d"],
        "run",
        ["-v", "/a:/b", "img"],
    )


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.Invalid, 2), (errors.Denied, 8), (errors.NotFound, 1), (errors.AlreadyExists, 6),
        (errors.Conflict, 6), (errors.Compacted, 1), (errors.Unavailable, 7), (errors.Deadline, 4),
        (errors.Exhausted, 1), (errors.Unsupported, 1), (errors.Failed, 1), (errors.Corrupt, 1),
    ],
)  # fmt: skip
def test_exit_codes_and_words_come_from_the_error_tree(
    daemon: ScriptedDaemon, cli: Cli, kind: type[errors.ZlayerError], code: int
) -> None:
    daemon.routes[DEPLOYMENTS] = error_answer(kind("this went wrong", hint="do that"))
    done = cli("ps")
    assert (done.code, done.out) == (code, "")
    assert done.err == "error: this went wrong\nhint: do that\n"


def test_every_error_class_has_its_code_tested() -> None:
    assert len(errors.BY_CODE) == 12


def test_verbose_shows_where_an_error_came_from(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[DEPLOYMENTS] = error_answer(errors.Failed("broken"))
    assert "Traceback" in cli("-v", "ps").err
    assert "Traceback" not in cli("ps").err


def test_no_daemon_elsewhere_is_unreachable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZLAYER_HOST", "unix:///tmp/zl-nothing-here.sock")
    assert cli("ps").code == 7


def test_a_reader_that_goes_away_is_no_complaint(daemon: ScriptedDaemon) -> None:
    daemon.routes[DEPLOYMENTS] = Answer([deployment(f"d{n}") for n in range(20_000)])
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "zlayer", "ps"], env=daemon.environ, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_is_130_and_quiet(daemon: ScriptedDaemon) -> None:
    daemon.routes["GET /api/v1/events"] = Answer(lines=(b'{"kind": "a.b"}\n',), held=True)
    with subprocess.Popen(
        [sys.executable, "-m", "zlayer", "events", "-f"],
        env=daemon.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout
        assert running.stdout.readline() == b"a.b\n"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=10)
    assert (running.returncode, err) == (130, b"")
