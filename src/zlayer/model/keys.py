"""Where each document lives in the store. Names inside keys never contain `/` (ids are checked at the border)."""

from __future__ import annotations

import hashlib

DEPLOYMENTS = "/deployments/"
REVISIONS = "/revisions/"
INSTANCES = "/instances/"
STATUS = "/status/"
NODES = "/nodes/"
ADDRESSES = "/addresses/"
EVENTS = "/events/"
NETWORKS = "/networks/"
PORTS = "/ports/"
CLAIMS = "/claims"
"""Written with every wish that claims ports of the node: two at once are seen."""
CERTIFICATES = "/certificates/"
ACME = "/acme/"
ACCOUNTS = "/acme/accounts/"
ORDERS = "/acme/orders/"
ISSUER = "/acme/issuer"
"""Held under a lease by the one who talks to the CA."""


def deployment(name: str) -> str:
    return f"{DEPLOYMENTS}{name}"


def revision(name: str, number: int) -> str:
    return f"{REVISIONS}{name}/{number:010d}"


def instance(instance_id: str) -> str:
    return f"{INSTANCES}{instance_id}"


def status(instance_id: str) -> str:
    return f"{STATUS}{instance_id}"


def node(node_id: str) -> str:
    return f"{NODES}{node_id}"


def certificate(name: str) -> str:
    return f"{CERTIFICATES}{name}"


def order(name: str) -> str:
    return f"{ORDERS}{name}"


def account(directory: str) -> str:
    """Of a CA's directory URL, which is too long and free in form to be part of a key."""
    return f"{ACCOUNTS}{hashlib.sha256(directory.encode()).hexdigest()[:16]}"


def address(node_id: str, ip: str) -> str:
    """Guards that an address is given once: the value is the instance id as a JSON string."""
    return f"{ADDRESSES}{node_id}/{ip}"


def network(node_id: str, deployment_name: str) -> str:
    return f"{NETWORKS}{node_id}/{deployment_name}"


def ports(node_id: str) -> str:
    return f"{PORTS}{node_id}"
