from __future__ import annotations

import pytest

from zlayer.model.errors import Invalid
from zlayer.testing.api_samples import Cli, container
from zlayer.testing.scripted_daemon import Answer, ScriptedDaemon, error_answer

LIST = "GET /api/v1/instances"
QUEUE = container(deployment="_run", service="queue", id="run-queue-1-a")
ENDED = container(deployment="_run", service="run", id="run-run-1-b", state="exited", exit_code=0)


@pytest.fixture(autouse=True)
def listed(daemon: ScriptedDaemon) -> None:
    daemon.routes |= {
        LIST: [Answer([QUEUE, ENDED]), Answer([QUEUE, ENDED]), Answer([])],
        "DELETE /api/v1/instances/run-queue-1-a": Answer({}, 202),
        "DELETE /api/v1/instances/run-run-1-b": Answer({}, 202),
    }


@pytest.mark.parametrize(
    ("argv", "removed"),
    [
        (("queue",), ["run-queue-1-a"]),
        (("run-queue-1-a", "queue"), ["run-queue-1-a"]),
        (("--ended",), ["run-run-1-b"]),
        (("--ended", "queue"), ["run-run-1-b", "run-queue-1-a"]),
    ],
)
def test_by_id_by_name_or_all_that_ended(
    daemon: ScriptedDaemon, cli: Cli, argv: tuple[str, ...], removed: list[str]
) -> None:
    done = cli("rm", *argv)
    assert (done.code, done.out.split()) == (0, removed)
    assert [r.path.rpartition("/")[2] for r in daemon.requests if r.method == "DELETE"] == removed
    assert len(daemon.seen(LIST)) == 3, "it waited until it was gone"


def test_what_does_not_go_is_a_deadline(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes[LIST] = Answer([QUEUE])
    assert cli("rm", "queue", "--timeout", "0.1").code == 4


def test_what_is_no_one_off_is_the_daemons_to_refuse(daemon: ScriptedDaemon, cli: Cli) -> None:
    daemon.routes["DELETE /api/v1/instances/shop-web-1-a"] = error_answer(Invalid("it is of deployment shop"))
    assert cli("rm", "shop-web-1-a").code == 2
    assert cli("rm").code == 2
