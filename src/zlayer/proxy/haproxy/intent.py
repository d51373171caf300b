"""What can be done of a table on this machine now: which listeners can listen, which certificates are good."""

from __future__ import annotations

from dataclasses import dataclass

from zlayer.model.errors import Conflict, Invalid, Problem
from zlayer.model.routes import RouteTable
from zlayer.proxy.haproxy.binds import Refusal, Who, open_doors, somebody
from zlayer.proxy.haproxy.certificates import Wallet
from zlayer.proxy.haproxy.structure import Door, Structure, covers, door_of, united


@dataclass(frozen=True, slots=True)
class Intent:
    """`refusals` name addresses that cannot be had, `faults` what is wrong in the table: the rest is done all the same.

    `structural`: the doors are not those that are open, so it takes a reload.
    """

    table: RouteTable
    doors: tuple[Door, ...]
    structural: bool
    pems: dict[str, str]
    refusals: tuple[Refusal, ...] = ()
    faults: tuple[Invalid, ...] = ()


def same(one: RouteTable, other: RouteTable) -> bool:
    """Whether they mean the same traffic, whatever revision they come from."""
    return (
        one.listeners == other.listeners
        and one.backends == other.backends
        and one.certificates == other.certificates
        and one.challenges == other.challenges
        and one.proofs == other.proofs
    )


def refused(intent: Intent) -> Conflict:
    """What `apply` raises when there are refusals."""
    owners = {one.name: dict.fromkeys(route.owner for route in one.routes) for one in intent.table.listeners}
    return Conflict(
        f"cannot listen on {'; '.join(map(str, intent.refusals))}",
        hint="see who listens: ss -ltnp; or choose other ports",
        problems=tuple(
            Problem(f"cannot listen on {one}", path=owner, kind="Taken")
            for one in intent.refusals
            for owner in owners.get(one.door, ())
        ),
    )


def intend(table: RouteTable, structure: Structure, wallet: Wallet, who: Who = somebody) -> Intent:
    """Looks at the machine: sockets are tried for addresses that are new; `who` tells who has those we cannot."""
    pems, faults = wallet.sort(table.certificates)
    known = {door.name: door for door in structure.doors}
    wished: list[Door] = []
    for listener in table.listeners:
        usable = tuple(name for name in listener.certificates if name in pems)
        try:
            door = door_of(listener, usable)
        except Invalid as fault:
            faults.append(fault)
            continue
        wished.append(united(known[door.name], door) if door.name in known else door)
    ours = {bind for door in structure.doors for bind in door.binds}
    doors, refusals = open_doors(wished, ours, who)
    return Intent(table, doors, not covers(structure, doors), pems, refusals, tuple(faults))
