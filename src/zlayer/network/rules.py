"""The nftables table of one daemon: from a fabric to its text, and from one text to the next. Pure.

A frame of base chains that never changes, and sets, maps and one chain per forward that do. The base chains:

| chain | hook, priority | what |
|---|---|---|
| `guard` | prerouting, raw | nothing from a container to or from 127.0.0.0/8 |
| `prerouting`, `output` | nat, dstnat (-100) | forwards: destination to a target's |
| `input` | input, filter - 5 | forwards without targets are refused; gateways are for their own network |
| `forward` | forward, filter - 5 | within a network, answers, forwards and reaches; all else to containers is dropped |
| `postrouting` | nat, srcnat (100) | masquerade to the outside, and for answers that must come back through the node |

An operator's own chain at any priority may drop (a drop is final); at `filter - 10` it comes before ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from zlayer.model.addressing import address6, gateway
from zlayer.model.fabric import Fabric, Forward, Subnet, Target
from zlayer.network.names import bridge_name, bridge_prefix

SLOTS = 64
"""Of a sticky forward: client addresses fall into slots, and each slot has a target."""
TYPES = {
    "same": "type ifname . ifname",
    "own4": "type ifname . ipv4_addr",
    "own6": "type ifname . ipv6_addr",
    "reach4": "type ipv4_addr . ifname",
    "reach6": "type ipv6_addr . ifname",
    "forwarded": "type inet_proto . inet_service",
    "forwarded4": "type ipv4_addr . inet_proto . inet_service",
    "forwarded6": "type ipv6_addr . inet_proto . inet_service",
    "ports": "type inet_proto . inet_service : verdict",
    "ports4": "type ipv4_addr . inet_proto . inet_service : verdict",
    "ports6": "type ipv6_addr . inet_proto . inet_service : verdict",
}
EVERYWHERE = frozenset({"", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Site:
    """Of one daemon: its short id, the pool of its containers and their IPv6 prefix (empty without IPv6)."""

    id: str
    pool: str
    pool6: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What changes of a table: elements by set or map, rules by the chain of a forward."""

    elements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def build(site: Site, fabric: Fabric) -> Rules:
    """The rules for a fabric."""
    elements: dict[str, set[str]] = {name: set() for name in TYPES}
    chains: dict[str, tuple[str, ...]] = {}
    for subnet in fabric.subnets:
        for name, found in membership(site, subnet).elements.items():
            elements[name] |= found
    for source, bridge in _reaches(site, fabric):
        elements["reach6" if ":" in source else "reach4"].add(f'{source} . "{bridge}"')
    for forward in fabric.forwards:
        name = chain_name(forward)
        rules = tuple(_targets(forward, fabric.subnets))
        if rules:
            chains[name] = rules
        for family, key in _keys(forward, fabric.subnets):
            elements[f"forwarded{family}"].add(key)
            if rules:
                elements[f"ports{family}"].add(f"{key} : goto {name}")
    return Rules({name: frozenset(found) for name, found in elements.items()}, chains)


def membership(site: Site, subnet: Subnet) -> Rules:
    """What one network needs to be one: traffic within it, and its gateways for itself only."""
    bridge = bridge_name(site.id, subnet.number)
    return Rules(
        {
            "same": frozenset({f'"{bridge}" . "{bridge}"'}),
            "own4": frozenset(f'"{bridge}" . {gateway(one)}' for one in subnet.blocks),
            "own6": frozenset(f'"{bridge}" . {gateway(one)}' for one in subnet.blocks6),
        }
    )


def whole(site: Site, table: str, rules: Rules) -> str:
    """The table from nothing."""
    lines = [f"table inet {table} {{"]
    for name, kind in TYPES.items():
        found = ", ".join(sorted(rules.elements.get(name, ())))
        lines.append(f"{'map' if 'verdict' in kind else 'set'} {name} {{ {kind};")
        # a map's chains must exist before it: its elements come at the end
        lines.append(f"elements = {{ {found} }}; }}" if found and "verdict" not in kind else "}")
    lines += [_frame(site), *(_chain(name, body) for name, body in rules.chains.items()), "}"]
    lines += [_element("add", table, name, rules.elements.get(name, frozenset())) for name in TYPES if "ports" in name]
    return "\n".join(line for line in lines if line) + "\n"


def change(table: str, before: Rules, after: Rules) -> str:
    """Commands from one to the other, to be run in one transaction; empty when they are equal."""
    lines: list[str] = []
    for name, body in after.chains.items():
        if before.chains.get(name) == body:
            continue
        lines.append(f"flush chain inet {table} {name}" if name in before.chains else f"add chain inet {table} {name}")
        lines += [f"add rule inet {table} {name} {rule}" for rule in body]
    for name in TYPES:
        old, new = before.elements.get(name, frozenset()), after.elements.get(name, frozenset())
        lines += [_element("delete", table, name, old - new), _element("add", table, name, new - old)]
    for name in before.chains.keys() - after.chains.keys():
        lines += [f"flush chain inet {table} {name}", f"delete chain inet {table} {name}"]
    return "\n".join(line for line in lines if line)


def additions(table: str, rules: Rules) -> str:
    """Commands that add elements, whatever else is there."""
    return "\n".join(filter(None, (_element("add", table, name, found) for name, found in rules.elements.items())))


def chain_name(forward: Forward) -> str:
    where = "" if forward.address in EVERYWHERE else f"-{forward.address.replace(':', '_')}"
    return f"{forward.transport}-{forward.port}{where}"


def _element(verb: str, table: str, name: str, elements: Iterable[str]) -> str:
    found = ", ".join(sorted(elements))
    return f"{verb} element inet {table} {name} {{ {found} }}" if found else ""


def _chain(name: str, body: Sequence[str]) -> str:
    return "\n".join([f"chain {name} {{", *body, "}"])


def _reaches(site: Site, fabric: Fabric) -> Iterator[tuple[str, str]]:
    numbers = {subnet.name: subnet.number for subnet in fabric.subnets}
    for reach in fabric.reaches:
        if reach.target in numbers:
            bridge = bridge_name(site.id, numbers[reach.target])
            yield reach.source, bridge
            if other := _address6(reach.source, fabric.subnets):
                yield other, bridge


def _address6(address: str, subnets: Iterable[Subnet]) -> str | None:
    return next((found for subnet in subnets if (found := address6(subnet, address))), None)


def _keys(forward: Forward, subnets: Sequence[Subnet]) -> Iterator[tuple[str, str]]:
    """Family (empty for every address of the node) and key of the sets a forward is in; a gateway's IPv6 one too."""
    port = f"{forward.transport} . {forward.port}"
    if forward.address in EVERYWHERE:
        yield "", port
        return
    address = ip_address(forward.address)
    yield str(address.version), f"{address} . {port}"
    for subnet in subnets:
        if subnet.blocks6 and str(address) == gateway(subnet.blocks[0]):
            yield "6", f"{gateway(subnet.blocks6[0])} . {port}"


def _targets(forward: Forward, subnets: Sequence[Subnet]) -> Iterator[str]:
    targets = sorted(forward.targets, key=lambda one: one.id)
    if not targets:
        return
    four = [(one, one.address) for one in targets]
    six = [(one, other) for one in targets if (other := _address6(one.address, subnets))]
    for family, reached in (("ip", four), ("ip6", six)):
        if reached:
            yield f"meta l4proto {forward.transport} dnat {family} to {_spread(forward, family, reached)}"


def _spread(forward: Forward, family: str, targets: Sequence[tuple[Target, str]]) -> str:
    if len(targets) == 1:
        target, address = targets[0]
        return f"[{address}]:{target.port}" if family == "ip6" else f"{address}:{target.port}"
    if not forward.sticky:
        listed = ", ".join(f"{n} : {address} . {one.port}" for n, (one, address) in enumerate(targets))
        return f"numgen inc mod {len(targets)} map {{ {listed} }}"
    slots = [max(targets, key=lambda t: _draw(slot, t[0].id)) for slot in range(SLOTS)]
    listed = ", ".join(f"{n} : {address} . {one.port}" for n, (one, address) in enumerate(slots))
    return f"jhash {family} saddr mod {SLOTS} seed 0x7a6c map {{ {listed} }}"


def _draw(slot: int, target: str) -> bytes:
    """Rendezvous hashing: a target that leaves gives away its own slots only, one that comes takes its share."""
    return hashlib.sha256(f"{slot}/{target}".encode()).digest()


def _frame(site: Site) -> str:
    ours = f'"{bridge_prefix(site.id)}*"'
    families = [("ip", "4", site.pool)] + ([("ip6", "6", site.pool6)] if site.pool6 else [])
    alien = [f"{ip} daddr {pool} iifname . {ip} daddr != @own{n}" for ip, n, pool in families]
    by_address = [f"{ip} daddr . meta l4proto . th dport vmap @ports{n}" for ip, n in (("ip", "4"), ("ip6", "6"))]
    anywhere = "fib daddr type local meta l4proto . th dport vmap @ports"
    refused = [
        f"{ip} daddr . meta l4proto . th dport @forwarded{n} jump refuse" for ip, n in (("ip", "4"), ("ip6", "6"))
    ]
    chains = {
        "guard": [
            "type filter hook prerouting priority raw; policy accept;",
            f"iifname {ours} ip daddr 127.0.0.0/8 drop",
            f"iifname {ours} ip saddr 127.0.0.0/8 drop",
        ],
        "prerouting": [
            "type nat hook prerouting priority dstnat; policy accept;",
            *(f"{match} accept" for match in alien),
            *by_address,
            anywhere,
        ],
        "output": [
            "type nat hook output priority -100; policy accept;",
            "ip6 daddr ::1 accept",  # the kernel sends nothing from ::1 to another machine
            *by_address,
            anywhere,
        ],
        "refuse": ["meta l4proto tcp reject with tcp reset", "reject with icmpx port-unreachable"],
        "input": [
            "type filter hook input priority filter - 5; policy accept;",
            "ct state established,related accept",
            *refused,
            "fib daddr type local meta l4proto . th dport @forwarded jump refuse",
            'iifname "lo" accept',
            *(f"{match} drop" for match in alien),
        ],
        "enter": [
            "ct state established,related accept",
            "ct status dnat accept",
            f"iifname {ours} fib saddr . iif oif missing drop",  # an address that is not the sender's reaches nobody
            *(f"iifname {ours} {ip} saddr . oifname @reach{n} accept" for ip, n in (("ip", "4"), ("ip6", "6"))),
            "drop",
        ],
        "forward": [
            "type filter hook forward priority filter - 5; policy accept;",
            "iifname . oifname @same accept",
            f"oifname {ours} jump enter",
        ],
        "postrouting": [
            "type nat hook postrouting priority srcnat; policy accept;",
            *(f"{ip} saddr {pool} {ip} daddr != {pool} oifname != {ours} masquerade" for ip, _, pool in families),
            *(f"oifname {ours} ct status dnat {ip} saddr {pool} masquerade" for ip, _, pool in families),
            f"oifname {ours} ip saddr 127.0.0.0/8 masquerade",
        ],
    }
    return "\n".join(_chain(name, body) for name, body in chains.items())
