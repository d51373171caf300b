"""One worker of the engine: what it goes by, and a way to tell it.

The current one is spoken to on its own socket. Those replaced by a reload finish what they have; they are reached
through the master. Their clients' connections may still bring requests, which must not go by an old table: so all
their routes are turned to a socket of the current worker, once and for good.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zlayer.model.errors import Failed
from zlayer.proxy.haproxy import reading
from zlayer.proxy.haproxy.difference import Command
from zlayer.proxy.haproxy.frontend import CHALLENGES, handover, map_of
from zlayer.proxy.haproxy.picture import Member, Picture
from zlayer.proxy.haproxy.process import MASTER, STATS
from zlayer.proxy.haproxy.runtime import ask

_VERSION = re.compile(r"\d+")
GONE = ("No such server", "Server not found")


@dataclass(slots=True)
class Worker:
    """`leaving` are servers switched off but not yet deleted, which may still have requests under way."""

    directory: Path
    pid: int
    picture: Picture
    current: bool = True
    leaving: dict[int, dict[str, Member]] = field(default_factory=dict)
    before: dict[str, reading.Count] = field(default_factory=dict)
    """What the slot of a backend had counted when it became that backend's."""
    sure: bool = True
    """False while it may be anywhere between two pictures: it must be read before it is told anything."""

    @property
    def known(self) -> Picture:
        """The picture with the servers that are leaving: what the worker really has."""
        merged = dict(self.picture.servers)
        for slot, members in self.leaving.items():
            merged[slot] = {**members, **merged.get(slot, {})}
        return replace(self.picture, servers=merged)

    async def ask(self, commands: Sequence[Command]) -> list[str]:
        if not commands:
            return []
        if self.current:
            return await ask(self.directory / STATS, commands)
        return await ask(self.directory / MASTER, commands, master=True, worker=self.pid)

    async def follow(self, commands: Sequence[Command], want: Picture) -> None:
        """Carry commands out, after which it goes by `want`. `Failed`: it refused one; it is somewhere in between."""
        self.sure = False
        answers = await self.ask(commands)
        for command, answer in zip(commands, answers, strict=True):
            if not command.accepted(answer):
                raise Failed(f"HAProxy refused {command.text!r}: {answer.strip()}")
        self._keep(want)
        self.sure = True

    def _keep(self, want: Picture) -> None:
        have = self.known.servers
        self.leaving = {
            slot: gone
            for slot, members in have.items()
            if members is not want.servers.get(slot)
            and (gone := {n: replace(m, on=False) for n, m in members.items() if n not in want.servers.get(slot, {})})
        }
        self.picture = want

    async def begin(self, slots: Mapping[str, int | None]) -> None:
        """Note what the slots have counted that change hands with this assignment."""
        had = self.picture.slots
        fresh = {slot: name for name, slot in slots.items() if slot is not None and had.get(name) != slot}
        if fresh:
            whole = [count for count in await self.counts(fresh) if count.server == reading.WHOLE]
            self.before.update({fresh[count.slot]: count for count in whole})
        self.before = {name: count for name, count in self.before.items() if name in slots}

    async def hand_over(self) -> None:
        """Of a replaced worker: from now on every request that arrives goes to the current one, atomically by door."""
        doors = [door.name for door in self.picture.structure.doors if door.web]
        versions = await self.ask([Command(f"prepare map {map_of(door)}") for door in doors])
        commands = [Command(f"clear map {CHALLENGES}")]
        for door, said in zip(doors, versions, strict=True):
            if version := _VERSION.search(said):
                name = map_of(door)
                commands.append(Command(f"add map @{version[0]} {name} */ {handover(door)}|handover"))
                commands.append(Command(f"commit map @{version[0]} {name}"))
        await self.ask(commands)

    async def read(self) -> None:
        """Learn what it really has. Servers that are switched off count as leaving until somebody wants them."""
        names = list(self.picture.maps)
        commands = [Command("show servers state"), *(Command(f"show map {name}") for name in names)]
        state, *maps = await self.ask(commands)
        members = reading.servers(state)
        self.leaving = {slot: off for slot, some in members.items() if (off := _those(some, on=False))}
        servers = {slot: on for slot, some in members.items() if (on := _those(some, on=True))}
        entries = {name: reading.entries(text) for name, text in zip(names, maps, strict=True)}
        self.picture = Picture(self.picture.structure, servers, entries)
        self.sure = True

    async def tidy(self) -> None:
        """Delete the servers that left and have nothing under way any more."""
        wanted = [(slot, name) for slot, members in self.leaving.items() for name in members]
        answers = await self.ask([Command(f"del server be{slot}/{name}") for slot, name in wanted])
        for (slot, name), answer in zip(wanted, answers, strict=True):
            if "deleted" in answer or any(word in answer for word in GONE):
                self.leaving[slot].pop(name, None)
        self.leaving = {slot: members for slot, members in self.leaving.items() if members}

    def places(self, names: Collection[str]) -> list[tuple[int, str]]:
        """Slot and name of each of its servers that has one of these names."""
        found = self.known.servers
        return [(slot, name) for slot, members in found.items() for name in names if name in members]

    async def counts(self, slots: Iterable[int] | None = None) -> list[reading.Count]:
        """Counters of these slots, or of all of them, servers and slots alike."""
        which = ["-1 6 -1"] if slots is None else [f"{1000 + slot} 6 -1" for slot in sorted(set(slots))]
        answers = await self.ask([Command(f"show stat {some}") for some in which])
        return [count for answer in answers for count in reading.counts(answer)]


def _those(members: dict[str, Member], *, on: bool) -> dict[str, Member]:
    return {name: member for name, member in members.items() if member.on == on}
