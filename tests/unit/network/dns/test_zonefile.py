from __future__ import annotations

import json
from pathlib import Path

from zlayer.model.zone import View, Zone
from zlayer.network.dns import zonefile

ZONE = Zone(3, upstreams=("10.0.0.53",), views=(View("shop", ("10.0.0.1",), {"web.service.local": ("10.0.0.2",)}),))


def test_a_zone_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"
    zonefile.write(path, zonefile.encode(ZONE))
    found = zonefile.load(path)
    assert (found.domain, found.ttl, found.upstreams) == (ZONE.domain, ZONE.ttl, ZONE.upstreams)
    assert list(found.views[0].names["web.service.local"]) == ["10.0.0.2"]
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_the_revision_makes_no_difference() -> None:
    assert zonefile.encode(ZONE) == zonefile.encode(Zone(4, upstreams=ZONE.upstreams, views=ZONE.views))


def test_equal_zones_are_equal_bytes_whatever_order_their_names_came_in() -> None:
    named = {"b.service.local": ("10.0.0.3", "fd00::3"), "a.service.local": (), 'odd"\\é.service.local': ("10.0.0.4",)}
    one, other = (
        Zone(views=(View("shop", ("10.0.0.1",), dict(names), ("10.0.0.0/26",)), View("x", ())))
        for names in (named.items(), reversed(named.items()))
    )
    assert zonefile.encode(one) == zonefile.encode(other)
    assert json.loads(zonefile.encode(one)) == {
        "domain": "service.local",
        "ttl": 1,
        "upstreams": [],
        "views": [
            {
                "network": "shop",
                "listen": ["10.0.0.1"],
                "names": {name: list(found) for name, found in named.items()},
                "clients": ["10.0.0.0/26"],
            },
            {"network": "x", "listen": [], "names": {}, "clients": []},
        ],
    }


def test_what_cannot_be_read_is_an_empty_zone(tmp_path: Path) -> None:
    path = tmp_path / "zone.json"
    assert zonefile.load(path) == Zone()
    for text in ("", "{", "[]", json.dumps({"domain": "x"})):
        path.write_text(text)
        assert zonefile.load(path) == Zone()
