from __future__ import annotations

from pathlib import Path

import pytest

from zlayer.daemon import traffic
from zlayer.store.view import Picture


@pytest.mark.parametrize(
    ("text", "found"),
    [("nameserver 127.0.0.53\noptions edns0\n", ("127.0.0.53",)), ("# nothing\nnameserver\n", ()),
     ("search a\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\n", ("10.0.0.1", "fe80::1"))],
)  # fmt: skip
def test_other_names_are_asked_of_the_hosts_servers(tmp_path: Path, text: str, found: tuple[str, ...]) -> None:
    path = tmp_path / "resolv.conf"
    upstreams = traffic.Upstreams(path)
    assert upstreams() == ()
    path.write_text(text)
    assert upstreams() == found
    assert upstreams() is upstreams()
    path.unlink()
    assert upstreams() == ()


def test_nobody_is_on_trial_where_there_is_nobody() -> None:
    assert traffic.on_trial(Picture(1, {}, {}, {}, {})) == frozenset()
