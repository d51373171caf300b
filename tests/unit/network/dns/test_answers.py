from __future__ import annotations

import struct

from zlayer.model.zone import View
from zlayer.network.dns import message
from zlayer.network.dns.answers import Answers
from zlayer.network.dns.message import Question

from .test_message import query

VIEW = View(
    "shop",
    ("10.0.0.1",),
    {
        "web.service.local": ("10.0.0.2", "fd00::2", "10.0.0.3"),
        "1.web.service.local": ("10.0.0.2", "fd00::2"),
        "idle.service.local": (),
        "db.store.service.local": ("10.1.0.2",),
    },
)


def asked(name: str, kind: int = message.A, klass: int = message.IN) -> tuple[int, int, bytes] | None:
    """Code, number of answers and the whole; None for another domain."""
    packet = query(name, kind)[:-2] + struct.pack(">H", klass)
    reply = Answers(VIEW, "service.local", 5).reply(message.read(packet), 512)
    return None if reply is None else (reply[3] & 0x0F, struct.unpack_from(">H", reply, 6)[0], reply)


def outline(name: str, kind: int = message.A, klass: int = message.IN) -> tuple[int, int] | None:
    found = asked(name, kind, klass)
    return found and found[:2]


def test_addresses_by_their_kind() -> None:
    assert outline("web.service.local") == (message.NOERROR, 2)
    assert outline("web.service.local", message.AAAA) == (message.NOERROR, 1)
    assert outline("WEB.Service.LOCAL") == (message.NOERROR, 2)
    assert outline("web.service.local", message.ANY) == (message.NOERROR, 1)


def test_not_now_is_not_never() -> None:
    assert outline("idle.service.local") == (message.NOERROR, 0)
    assert outline("web.service.local", 16) == (message.NOERROR, 0)
    assert outline("store.service.local") == (message.NOERROR, 0), "a name with names below it exists"
    assert outline("service.local") == (message.NOERROR, 0)
    assert outline("nothing.service.local") == (message.NXDOMAIN, 0)
    found = asked("nothing.service.local")
    assert found is not None
    assert struct.unpack_from(">H", found[2], 8)[0] == 1, "with the SOA that says for how long"


def test_other_domains_are_for_others() -> None:
    for name in ("example.org", "local", "xservice.local", "service.local.example.org", "a.bservice.local"):
        assert outline(name) is None, name


def test_other_classes_are_refused() -> None:
    assert outline("web.service.local", klass=3) == (message.REFUSED, 0)


def test_answers_take_turns() -> None:
    answers = Answers(VIEW, "service.local", 5)
    firsts = {answers.reply(message.read(query("web.service.local")), 512)[-20:-16] for _ in range(2)}  # type: ignore[index]
    assert len(firsts) == 2


def test_transfers_are_refused() -> None:
    for kind in (251, 252):
        assert outline("web.service.local", kind) == (message.REFUSED, 0)
        found = Answers(VIEW, "service.local", 5).known(query("example.org", kind))
        assert isinstance(found, bytes)
        assert found[3] & 0x0F == message.REFUSED


def test_short_names_are_nobody_elses_business() -> None:
    answers = Answers(VIEW, "service.local", 5)
    for kind in (message.A, message.AAAA):
        found = answers.known(query("printer", kind))
        assert isinstance(found, bytes)
        assert found[3] & 0x0F == message.NXDOMAIN
    assert isinstance(answers.known(query("org", 6)), Question), "an SOA of a top-level domain is asked for elsewhere"
    assert isinstance(answers.known(query("example.org")), Question)


def test_usual_questions_are_packed_for_the_next_time() -> None:
    answers = Answers(VIEW, "service.local", 5)
    for name in ("web.service.local", "WEB.service.local"):
        answers.known(query(name).replace(b"WEB", b"wEb"))
    answers.known(query("web.service.local", edns=1232))
    answers.known(query("none.service.local"))
    assert list(answers.packed) == [query("web.service.local")[2:]]
    assert len(answers.packed[query("web.service.local")[2:]]) == 2, "two addresses, two orders"
