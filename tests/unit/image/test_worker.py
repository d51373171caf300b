"""The worker's protocol, spoken with a real process."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest

from zlayer.image.pull_order import PullOrder, order_document, read_order
from zlayer.image.pull_process import COMMAND, run_pull
from zlayer.image.settings import RegistryHost, RegistrySettings
from zlayer.image.worker import sender, work
from zlayer.model.errors import Failed, NotFound
from zlayer.testing.registry_faulty import FaultyRegistry


def order(root: Path, reference: str) -> PullOrder:
    hosts = {"h": RegistryHost(username="u", password="p")}
    return PullOrder(root, reference, "linux/amd64", RegistrySettings(hosts=hosts, attempts=1), ("sha256:x",))


def test_an_order_survives_the_pipe(tmp_path: Path) -> None:
    sent = order(tmp_path, "a/b")
    assert read_order(json.loads(json.dumps(order_document(sent)))) == sent


def test_errors_are_documents(tmp_path: Path) -> None:
    out = io.BytesIO()
    work(order_document(order(tmp_path, "Not/A Reference")), sender(out))
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["error"]["code"] == "invalid"


def test_no_order_no_work() -> None:
    assert subprocess.run(COMMAND, stdin=subprocess.DEVNULL, timeout=60, check=False).returncode == 1


@pytest.mark.anyio
async def test_an_error_arrives_as_itself(tmp_path: Path) -> None:
    with FaultyRegistry() as registry, pytest.raises(NotFound) as caught:
        await run_pull(
            PullOrder(tmp_path, f"{registry.address}/none", None, RegistrySettings(attempts=1)), lambda _: None
        )
    assert "none" in caught.value.message
    assert caught.value.hint


@pytest.mark.anyio
async def test_a_worker_that_breaks_is_told_with_its_last_words(tmp_path: Path) -> None:
    broken = PullOrder(tmp_path, 5, None, RegistrySettings())  # type: ignore[arg-type]  # what no daemon sends
    with pytest.raises(Failed, match="ended with code 1"):
        await run_pull(broken, lambda _: None)
