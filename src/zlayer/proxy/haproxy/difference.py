"""What to tell a worker so that it goes by another picture. Pure; the order is what loses no request.

Certificates and servers come first, then routes to them, then the old routes and servers leave. A server that leaves
is only switched off here: HAProxy deletes it when its connections are gone, for which nobody waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zlayer.proxy.haproxy.frontend import list_of
from zlayer.proxy.haproxy.names import plain
from zlayer.proxy.haproxy.picture import CERTIFICATE, SHOWN, STATE, Member, Picture
from zlayer.proxy.haproxy.proving import SHOWS


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the runtime API. Done when the answer is empty or has one of `done` in it."""

    text: str
    done: tuple[str, ...] = ()
    payload: str = ""

    def accepted(self, answer: str) -> bool:
        return not answer.strip() or any(word in answer for word in self.done)


def difference(have: Picture, want: Picture, pems: Mapping[str, str], cookie_key: str) -> Iterator[Command]:
    """Commands from `have` to `want`, pictures of one structure. `pems` by file name, of every certificate wanted."""
    state, shown = have.maps.get(STATE, {}), want.maps.get(STATE, {})
    doors = {SHOWS: SHOWS, **{plain(door.name): door.name for door in want.structure.doors}}
    if state is not shown:
        yield from _certificates(state, shown, pems, doors)
    for slot, members in want.servers.items():
        if have.servers.get(slot) is members:
            continue
        yield from _come(slot, have.servers.get(slot, {}), members, cookie_key if _sticky(want, slot) else "")
    for name, lines in want.maps.items():
        if (known := have.maps.get(name)) is lines or known == lines:
            continue
        yield from _entries(name, have.maps.get(name, {}), lines)
    for slot, members in have.servers.items():
        if want.servers.get(slot) is members:
            continue
        yield from _leave(slot, members, want.servers.get(slot, {}))
    if state is not shown:
        yield from _forgotten(state, shown, doors)


def _sticky(picture: Picture, slot: int) -> bool:
    shape = picture.structure.slots[slot]
    return shape.sticky and shape.mode == "http"


def _come(slot: int, have: Mapping[str, Member], want: Mapping[str, Member], cookie_key: str) -> Iterator[Command]:
    came = False
    for name, member in want.items():
        known = have.get(name)
        if known == member:
            continue
        where = f"be{slot}/{name}"
        if known is None:
            came = True
            yield Command(f"add server {where} {member.options}", ("New server registered",))
        else:
            yield from _change(where, known, member)
        if member.on and (known is None or not known.on):
            yield Command(f"set server {where} state ready")
    if came and cookie_key:
        # 2.6 computes the cookies of servers that come at run time only when it is told the key again.
        yield Command(f"set dynamic-cookie-key backend be{slot} {cookie_key}")


def _change(where: str, have: Member, want: Member) -> Iterator[Command]:
    if (have.address, have.port) != (want.address, want.port):
        yield Command(f"set server {where} addr {want.address} port {want.port}", ("changed", "no need"))
    if have.weight != want.weight:
        yield Command(f"set server {where} weight {want.weight}")
    if have.limit != want.limit:
        yield Command(f"set maxconn server {where} {want.limit}")


def _leave(slot: int, have: Mapping[str, Member], want: Mapping[str, Member]) -> Iterator[Command]:
    for name, member in have.items():
        if member.on and (name not in want or not want[name].on):
            yield Command(f"set server be{slot}/{name} state maint")


def _entries(name: str, have: Mapping[str, str], want: Mapping[str, str]) -> Iterator[Command]:
    for key, value in want.items():
        known = have.get(key)
        if known is None:
            yield Command(f"add map {name} {key} {value}")
        elif known != value:
            yield Command(f"set map {name} {key} {value}")
    for key in have:
        if key not in want:
            yield Command(f"del map {name} {key}")


def _certificates(
    have: Mapping[str, str], want: Mapping[str, str], pems: Mapping[str, str], doors: Mapping[str, str]
) -> Iterator[Command]:
    """New ones come before others change: a name may go from one file to another."""
    changed = [key for key, digest in want.items() if key.startswith(CERTIFICATE) and have.get(key) != digest]
    for key in changed:
        if key not in have:
            yield Command(f"new ssl cert {key.removeprefix(CERTIFICATE)}", ("New empty certificate store",))
            yield from _content(key.removeprefix(CERTIFICATE), pems)
    for key in want:
        if key.startswith(SHOWN) and key not in have:
            door, file = key.removeprefix(SHOWN).split("/")
            yield Command(f"add ssl crt-list {list_of(doors[door])} {file}", ("Success",))
    for key in changed:
        if key in have:
            yield from _content(key.removeprefix(CERTIFICATE), pems)


def _content(file: str, pems: Mapping[str, str]) -> Iterator[Command]:
    yield Command(f"set ssl cert {file}", ("Transaction",), payload=pems[file])
    yield Command(f"commit ssl cert {file}", ("Success",))


def _forgotten(have: Mapping[str, str], want: Mapping[str, str], doors: Mapping[str, str]) -> Iterator[Command]:
    for key in have:
        if key.startswith(SHOWN) and key not in want:
            door, file = key.removeprefix(SHOWN).split("/")
            if door in doors:
                yield Command(f"del ssl crt-list {list_of(doors[door])} {file}", ("deleted",))
    for key in have:
        if key.startswith(CERTIFICATE) and key not in want:
            yield Command(f"del ssl cert {key.removeprefix(CERTIFICATE)}", ("deleted",))
