"""Asks a registry whether a login is good. In the worker process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from zlayer.image.login_order import LoginOrder
from zlayer.image.reference import Reference
from zlayer.image.registry import Registry


def check(order: LoginOrder, environ: Mapping[str, str]) -> None:
    """Errors: `Denied` when the registry does not take it; `Unavailable`, `Deadline`.

    A registry that asks nobody for a login takes any.
    """
    host = order.settings.host(order.domain)
    given = replace(host, username=order.username, password=order.password, password_file="")
    settings = replace(order.settings, hosts={**order.settings.hosts, order.domain: given})
    registry = Registry(Reference(order.domain, "login"), settings, environ, rights="")
    try:
        registry.ping()
    finally:
        registry.close()
