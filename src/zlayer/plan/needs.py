"""Which certificate each https endpoint is served with, and where it is to come from."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from zlayer.model import keys
from zlayer.model.certificate import Order, Source, StoredCertificate
from zlayer.model.endpoint import Endpoint, Tls
from zlayer.model.errors import ZlayerError
from zlayer.model.instance import Deployment
from zlayer.model.routes import Certificate
from zlayer.model.secret import Secret
from zlayer.plan.routes import Certificates

ANY = "_default"
"""The certificate of endpoints without a host. No host can be called so: names of hosts have no underscore first."""
PROOF = "_acme:"
"""What the name of a proof's certificate begins with; no host does."""
LOCAL_SUFFIXES = (".local", ".localhost", ".internal", ".test")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_RANK: Mapping[Source, int] = {"files": 0, "acme": 1, "self_signed": 2}


@dataclass(frozen=True, slots=True)
class Policy:
    """What this node can do. `directory` is empty without `[acme]`; `authority` is the id of its own CA."""

    directory: str = ""
    wildcards: bool = False
    """There is a hook for dns-01, the only proof a wildcard may have."""
    authority: str = ""
    own_names: tuple[str, ...] = ()
    """Host names and addresses of the node, for endpoints without a host."""


@dataclass(frozen=True, slots=True)
class Need:
    """One certificate. `authority` is who must have made it, as in `StoredCertificate`."""

    name: str
    names: tuple[str, ...]
    source: Source
    authority: str
    users: tuple[str, ...]
    """Names of the backends it is for."""
    files: tuple[str, str] = ("", "")
    """Certificate and key, for `files`."""
    automatic: bool = False
    """The source was chosen for the user: another one that works is as good."""
    note: str = ""
    problem: str = ""
    """Why it cannot be had as it is asked for; then nothing is tried."""


def is_local(host: str) -> bool:
    """Names no public CA gives certificates for: without a dot, below a private suffix, or an address."""
    bare = host.removeprefix("*.").rstrip(".").lower()
    if "." not in bare or bare.endswith(LOCAL_SUFFIXES):
        return True
    return _is_address(bare)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def needs(deployments: Iterable[Deployment], policy: Policy) -> tuple[Need, ...]:
    """One per certificate, by name. Endpoints of one host share it; of two sources the stronger proof wins."""
    found: dict[str, Need] = {}
    for user, endpoint in _https(deployments):
        need = _need(endpoint, user, policy)
        other = found.get(need.name)
        if other is not None:
            first, second = sorted((other, need), key=lambda one: (bool(one.problem), _RANK[one.source], one.automatic))
            need = replace(first, users=tuple(sorted({*first.users, *second.users})), note=first.note or second.problem)
        found[need.name] = need
    return tuple(found[name] for name in sorted(found))


def certificate_name(endpoint: Endpoint) -> str:
    """The name of the document an https endpoint is served with."""
    host, tls = endpoint.host or ANY, endpoint.tls or Tls()
    if tls.mode != "files":
        return host
    paths = hashlib.sha256(f"{tls.certificate}\0{tls.key}".encode()).hexdigest()[:8]
    return f"{host}~{paths}"


def _https(deployments: Iterable[Deployment]) -> Iterator[tuple[str, Endpoint]]:
    """Every endpoint whose TLS ends at the proxy, with the name of its backend."""
    for deployment in sorted(deployments, key=lambda one: one.name):
        if deployment.desired == "removed":
            continue
        for name, service in deployment.services.items():
            for endpoint in service.endpoints:
                if endpoint.protocol == "https" and (endpoint.tls or Tls()).mode != "passthrough":
                    yield f"{deployment.name}/{name}/{endpoint.name}", endpoint


def _need(endpoint: Endpoint, user: str, policy: Policy) -> Need:
    host, tls, name = endpoint.host, endpoint.tls or Tls(), certificate_name(endpoint)
    if tls.mode == "files":
        given = bool(tls.certificate and tls.key)
        return Need(
            name=name,
            names=(host,) if host else (),
            source="files",
            authority=f"{tls.certificate}, {tls.key}",
            users=(user,),
            files=(tls.certificate or "", tls.key or ""),
            problem="" if given else "tls mode `files` needs `certificate` and `key`",
        )
    without = _no_acme(host, policy)
    local = host is None or is_local(host)
    if tls.mode == "acme" or (tls.mode == "auto" and not local and not without):
        return Need(
            name, (host or "",), "acme", policy.directory, (user,), automatic=tls.mode == "auto", problem=without
        )
    return Need(
        name=name,
        names=(host.strip("[]"),) if host else _distinct((*policy.own_names, *LOCAL_NAMES)),
        source="self_signed",
        authority=policy.authority,
        users=(user,),
        automatic=tls.mode == "auto",
        note=f"self-signed, for {without}" if tls.mode == "auto" and not local else "",
    )


def _no_acme(host: str | None, policy: Policy) -> str:
    """Why ACME cannot give a certificate for this host; empty when it can."""
    if host is None:
        return "ACME needs the endpoint's `host`"
    if _is_address(host):
        return f"ACME gives certificates for names, not for the address {host}"
    if not policy.directory:
        return "config.toml has no [acme] with an email and `agree = true`"
    if host.startswith("*.") and not policy.wildcards:
        return f"{host} can only be proved by dns-01: set dns_hook in [acme] of config.toml"
    return ""


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))


def table_certificates(
    deployments: Iterable[Deployment],
    stored: Mapping[str, StoredCertificate],
    orders: Mapping[str, Order],
    unseal: Callable[[str, str], Secret],
    acme_port: int = 80,
    tls_port: int | None = None,
) -> tuple[Certificates, tuple[str, ...]]:
    """What the proxy's table is to hold, and in words which keys could not be read. Deterministic.

    `unseal(sealed, key)` opens a private key that was sealed for the store key `key`, and raises of the error tree.
    With `tls_port` names are proved there, by tls-alpn-01, and not on `acme_port`.
    An endpoint whose certificate is not there yet keeps the one it had; without one it has no choice. Expired ones
    are served: a client that looks the other way is better off than one that finds nothing.
    """
    chosen = served(deployments, stored)
    pems: dict[str, Certificate] = {}
    faults: list[str] = []
    for name in sorted(set(chosen.values())):
        document = stored.get(name)
        if document is None or not document.usable:
            continue
        try:
            private = unseal(document.key, keys.certificate(name))
        except ZlayerError as error:
            faults.append(f"{name}: {error.message}")
            continue
        pems[name] = Certificate(name, document.chain, private.reveal())
    challenges = {token: answer for name in sorted(orders) for token, answer in orders[name].challenges.items()}
    proofs: dict[str, Certificate] = {}
    for name, order in sorted(orders.items()):
        for host, one in sorted(order.proofs.items()):
            try:
                proofs[host] = Certificate(f"{PROOF}{host}", one.chain, unseal(one.key, keys.order(name)).reveal())
            except ZlayerError as error:
                faults.append(f"{host}: {error.message}")
    proved_here = any(_is_proved_here(stored[name]) for name in set(chosen.values()) & stored.keys())
    made = Certificates(
        pems=pems,
        chosen={user: name for user, name in sorted(chosen.items()) if name in pems},
        challenges=challenges,
        acme_port=acme_port if challenges or (proved_here and tls_port is None) else None,
        proofs=proofs,
        tls_port=tls_port if proofs or proved_here else None,
    )
    return made, tuple(faults)


def wanted_names(deployments: Iterable[Deployment]) -> dict[str, str]:
    """By backend, the certificate it is to have."""
    return {user: certificate_name(endpoint) for user, endpoint in _https(deployments)}


def served(deployments: Iterable[Deployment], stored: Mapping[str, StoredCertificate]) -> dict[str, str]:
    """By backend, the certificate it is served with; the one it is to have where there is none yet."""
    return {user: _served(user, endpoint, stored) for user, endpoint in _https(deployments)}


def _served(user: str, endpoint: Endpoint, stored: Mapping[str, StoredCertificate]) -> str:
    """The name of the certificate it is to have, or of the newest one it had before that is good for its host."""
    own = certificate_name(endpoint)
    if (document := stored.get(own)) is not None and document.usable:
        return own
    before = [one for one in stored.values() if one.usable and user in one.users and _covers(one, endpoint.host)]
    return max(before, key=lambda one: (one.issued_at, one.name)).name if before else own


def _covers(document: StoredCertificate, host: str | None) -> bool:
    return host is None or host in document.names or f"*.{host.partition('.')[2]}" in document.names


def _is_proved_here(document: StoredCertificate) -> bool:
    """By http-01 or tls-alpn-01. What it takes stays between orders: to open it is a reload, and so is to close it."""
    return document.source == "acme" and not document.name.startswith("*.")
