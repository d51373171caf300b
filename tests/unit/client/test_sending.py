"""Sending from daemon to daemon (zlayer.client.sending): what is tried again, and what is not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zlayer.client.async_client import AsyncClient
from zlayer.client.client import Client
from zlayer.client.image_results import Parcel, Part
from zlayer.client.results import Image, PullProgress
from zlayer.client.sending import TRIES, send, survey
from zlayer.client.transport import Address
from zlayer.model.errors import Corrupt, Denied, Unavailable
from zlayer.testing.scripted_daemon import Answer, Request, ScriptedDaemon, error_answer, ndjson

I = "/api/v1/images"  # noqa: E741  # short in many lines
PARTS = [{"digest": "sha256:aa", "size": 2}, {"digest": "sha256:bb", "size": 6}]
PARCEL = {"reference": "a:1", "digest": "sha256:aa", "index_digest": "", "platform": "linux/amd64", "parts": PARTS}
IMAGE = {"image": {"reference": "a:1", "digest": "sha256:aa"}}
BLOB = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"


def lacking(here: int = 0) -> Answer:
    return Answer({"missing": [{**PARTS[1], "here": here}]})


def taken(request: Request) -> Answer:
    assert request.body == b"abcdef"
    return Answer({**PARTS[1], "here": 6})


@pytest.fixture
def nodes(daemon: ScriptedDaemon) -> Iterator[tuple[Client, Client, ScriptedDaemon]]:
    daemon.routes |= {f"GET {I}/parcel": Answer(PARCEL), f"GET {I}/blobs": Answer(raw=BLOB)}
    with ScriptedDaemon() as other:
        other.routes |= {
            f"POST {I}/missing": lacking(),
            f"POST {I}/blobs": taken,
            f"POST {I}/accept": ndjson({"digest": "sha256:bb", "phase": "done", "done": 6, "total": 6}, IMAGE),
        }
        yield (
            Client(Address(path=str(daemon.data_dir / "zlayer.sock"))),
            Client(Address(path=str(other.data_dir / "zlayer.sock"))),
            other,
        )


def test_what_is_missing_goes_and_is_told(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target, other = nodes
    told: list[PullProgress] = []
    sent = send(source, target, "a:1", told.append)
    assert (sent.image.reference, sent.sent, sent.there) == ("a:1", 6, 1)
    phases = [(one.digest, one.phase) for one in told]
    assert phases[:3] == [("sha256:aa", "exists"), ("sha256:bb", "waiting"), ("sha256:bb", "uploading")]
    assert phases[-1] == ("sha256:bb", "done")
    [asked] = other.seen(f"POST {I}/missing")
    assert asked.body == PARCEL
    found = survey(source, target, "a:1")
    assert (found.bytes, found.there) == (6, 1)


def test_a_broken_line_is_tried_again_from_where_it_broke(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target, other = nodes
    other.routes[f"POST {I}/missing"] = [lacking(), lacking(3)]
    other.routes[f"POST {I}/blobs"] = [Answer(raw=b"HTTP/1.1 200"), taken]
    pauses: list[float] = []
    assert send(source, target, "a:1", pause=pauses.append).there == 1
    assert pauses == [1.0]
    assert [one.target.partition("offset=")[2] for one in other.seen(f"POST {I}/blobs")] == ["0", "3"]


def test_it_gives_up_when_nothing_comes_through(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target, other = nodes
    other.routes[f"POST {I}/blobs"] = error_answer(Unavailable("busy", retry_after=3))
    pauses: list[float] = []
    with pytest.raises(Unavailable):
        send(source, target, "a:1", pause=pauses.append)
    assert pauses == [3, 3, 4, 8, 10][: TRIES - 1]


def test_wrong_bytes_are_sent_once_more_and_no_oftener(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target, other = nodes
    other.routes[f"POST {I}/blobs"] = error_answer(Corrupt("not what it says"))
    with pytest.raises(Corrupt):
        send(source, target, "a:1", pause=lambda _seconds: None)
    assert len(other.seen(f"POST {I}/blobs")) == 2


def test_a_refusal_and_a_node_that_is_not_there_end_it_at_once(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target, other = nodes
    other.routes[f"POST {I}/missing"] = error_answer(Denied("not by this policy"))
    with pytest.raises(Denied):
        send(source, target, "a:1")
    with pytest.raises(Unavailable):
        send(source, Client(Address(path="/nowhere/zlayer.sock")), "a:1")


@pytest.mark.anyio
async def test_the_async_client_can_do_the_same(nodes: tuple[Client, Client, ScriptedDaemon]) -> None:
    source, target = (AsyncClient(one.address) for one in nodes[:2])
    parcel: Parcel = await source.parcel("a:1")
    [part] = await target.missing(parcel)
    assert (await target.send_blob(part, source.read_blob(part))).here == 6
    items = [item async for item in target.accept(parcel)]
    assert isinstance(items[-1], Image)
    assert part == Part(digest="sha256:bb", size=6)
