"""How users' wants get into the store. Every call is durable when it returns, and starts nothing itself."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from zlayer.control.certificate_wishes import CertificateWishes
from zlayer.control.pins import Pins
from zlayer.control.updates import Deployed, Updates, resumed
from zlayer.control.writer import DeploymentWriter, existing, staying
from zlayer.model import keys
from zlayer.model.container import ContainerSpec, PullPolicy
from zlayer.model.errors import Conflict, Invalid, NotFound, Problem, Unavailable
from zlayer.model.instance import ONE_OFF, Deployment, Instance, InstanceStatus, Service
from zlayer.model.units import Seconds, Timestamp
from zlayer.plan.compare import Difference, compare
from zlayer.plan.history import carried
from zlayer.plan.naming import instance_id
from zlayer.plan.placement import Place
from zlayer.plan.restart import unwell
from zlayer.plan.seen import Seen
from zlayer.plan.update.strategy import refusals
from zlayer.proxy.contract import ProxyProbe
from zlayer.spec.compile import Compiled, base_of, compile_deployment
from zlayer.spec.load import load
from zlayer.store.contract import Store
from zlayer.store.documents import decoder, encode

_read_instance = decoder(Instance)
_read_instancestatus = decoder(InstanceStatus)

_ATTEMPTS = 16


Suggest = Callable[[Instance], Place | None]
"""A place for an instance that is about to be written: `Controllers.suggest`."""
NO_PINS = Pins()
ProbeProxy = Callable[[], Awaitable[ProxyProbe]]


@dataclass(frozen=True, slots=True)
class PlanView:
    """`revision` is what the plan was made on, 0 for a new deployment: send it with the deploy to be sure."""

    name: str
    revision: int
    differences: tuple[Difference, ...]


class Wishes:
    """`environ` answers `$E:VAR`; `pins` are for images whose policy asks the registry at each deploy.

    `proxy` says whether endpoints can be served at all. `updates` takes the wishes about an update under way, and
    those to go back; `certificates` those about them.
    """

    def __init__(
        self,
        store: Store,
        *,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        pins: Pins = NO_PINS,
        suggest: Suggest | None = None,
        proxy: ProbeProxy | None = None,
    ) -> None:
        self._store = store
        self._environ = environ
        self._clock = clock
        self._writer = DeploymentWriter(store, clock)
        self.updates = Updates(self._writer)
        self.certificates = CertificateWishes(store, clock)
        self._pins = pins
        self._suggest = suggest
        self._proxy = proxy

    async def plan(self, text: str, *, file: str = "", pull: PullPolicy | None = None) -> PlanView:
        """What `deploy` would do now. Writes nothing."""
        compiled = self._compile(text, file)
        old = await self._writer.load(compiled.name)
        services = await self._services(compiled, old, pull)
        await self._writer.claimed.check(compiled.name, services, old)
        seen = await self._seen(compiled.name)
        return PlanView(compiled.name, old.revision if old else 0, tuple(compare(services, seen)))

    async def deploy(
        self,
        text: str,
        *,
        file: str = "",
        expect_revision: int | None = None,
        pull: PullPolicy | None = None,
        name: str | None = None,
    ) -> Deployed:
        """Want what the file says. `Conflict` when `expect_revision` (from a plan) is no longer the latest.

        What is wanted already but has failed is tried again at once; that is no new revision.
        Raises `Invalid` with every problem of the file; nothing is written then.
        """
        compiled = self._compile(text, file)
        if name is not None and name != compiled.name:
            raise Invalid(f"the file deploys {compiled.name!r}, not {name!r}", hint="use the name the file gives")

        async def change(old: Deployment | None) -> Deployment:
            revision = old.revision if old else 0
            if expect_revision is not None and expect_revision != revision:
                raise Conflict(
                    f"deployment {compiled.name} is at revision {revision}, the plan was made on {expect_revision}",
                    hint="plan again",
                )
            if old is not None:
                staying(compiled.name, old)
            services = await self._services(compiled, old, pull)
            now = Timestamp(self._clock())
            if old is None:
                return Deployment(
                    name=compiled.name, revision=1, services=services, source=text, created_at=now, updated_at=now
                )
            if old.services == services and old.desired == "running":
                return await self._again(old)
            wish = self._writer.following(old, services=services, source=text, paused=False)
            return wish.model_copy(update={"desired": "running", "stop_grace": None})

        before, after = await self._writer.change(compiled.name, change, "deployment.updated")
        return Deployed(compiled.name, after.revision, before is None or after.revision != before.revision)

    async def _again(self, old: Deployment) -> Deployment:
        """What is wanted already, asked for again: what failed is tried at once, what was paused goes on."""
        failed = old.rollout.state == "failed"
        if failed or any(map(unwell, await self._seen(old.name))):
            old = old.model_copy(update={"asked_at": self._writer.now()})
        if old.rolled_back_from:
            old = old.model_copy(update={"rolled_back_from": 0, "reason": ""})
        return resumed(old, self._writer) if old.paused else old

    async def scale(self, name: str, counts: Mapping[str, int]) -> Deployed:
        """Set replica counts until the next change of the file; above an adaptive service's max is `Invalid`."""

        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            services = dict(found.services)
            for service, count in counts.items():
                services[service] = _scaled(found, service, count)
            return found if services == found.services else self._writer.following(found, services=services)

        before, after = await self._writer.change(name, change, "deployment.scaled")
        return Deployed(name, after.revision, before is None or after.revision != before.revision)

    async def stop(self, name: str, service: str | None = None, *, grace: Seconds | None = None) -> Deployed:
        """End the containers of a deployment or of one service; logs and records stay. Undone by `start` or `up`.

        `grace` replaces the specs' time between signal and kill; given again while they stop, the new one counts.
        """
        return await self._switch(name, service, stopped=True, grace=grace)

    async def start(self, name: str, service: str | None = None) -> Deployed:
        return await self._switch(name, service, stopped=False)

    async def remove(self, name: str) -> Deployed:
        """End and forget everything of a deployment but its named volumes."""

        async def change(old: Deployment | None) -> Deployment:
            found = existing(name, old)
            return found if found.desired == "removed" else self._writer.following(found, desired="removed")

        before, after = await self._writer.change(name, change, "deployment.removed")
        return Deployed(name, after.revision, before is None or after.revision != before.revision)

    async def run_once(
        self,
        spec: ContainerSpec,
        *,
        name: str | None = None,
        remove_on_exit: bool = False,
        await_attach: bool = False,
    ) -> Instance:
        """A one-off instance: never restarted, listed until removed (or at once with `remove_on_exit`)."""
        service = name or "run"
        instance = Instance(
            id=instance_id("run", service, 1, secrets.token_hex(16)),
            deployment=ONE_OFF,
            service=service,
            slot=1,
            revision=1,
            spec=spec,
            digest=spec.digest(),
            created_at=Timestamp(self._clock()),
            remove_on_exit=remove_on_exit,
            await_attach=await_attach,
        )
        return await self._placed(instance) or await self._unplaced(instance)

    async def _placed(self, instance: Instance) -> Instance | None:
        """Written with its place at once: one turn of the controllers less on the way of a `run`."""
        spot = self._suggest(instance) if self._suggest is not None else None
        if spot is None:
            return None
        placed = spot.settled()
        puts = {keys.instance(placed.id): encode(placed)}
        if spot.address is not None and spot.shares is None:
            puts[keys.address(spot.node, spot.address)] = json.dumps(placed.id).encode()
        try:
            await self._store.commit(puts, expect=dict.fromkeys(puts, 0))
        except Conflict:  # the address went to another meanwhile: the controllers will find one
            return None
        return placed

    async def _unplaced(self, instance: Instance) -> Instance:
        key = keys.instance(instance.id)
        await self._store.commit({key: encode(instance)}, expect={key: 0})
        return instance

    async def remove_instance(self, instance_id: str) -> None:
        """End and forget a one-off. `Invalid` for a replica of a deployment: it would only come back."""
        await self._want_one_off(instance_id, "removed")

    async def stop_instance(self, instance_id: str) -> None:
        await self._want_one_off(instance_id, "stopped")

    async def _want_one_off(self, instance_id: str, desired: str) -> None:
        key = keys.instance(instance_id)
        for _ in range(_ATTEMPTS):
            item = await self._store.get(key)
            if item is None:
                raise NotFound(f"no instance {instance_id}", hint="see: zlayer ps -c")
            instance = _read_instance(item.value)
            if instance.deployment != ONE_OFF:
                raise Invalid(
                    f"{instance_id} is a replica of deployment {instance.deployment}",
                    hint=f"use: zlayer scale, zlayer stop -s {instance.service} or zlayer down {instance.deployment}",
                )
            if instance.desired in (desired, "removed"):
                return
            new = instance.model_copy(update={"desired": desired})
            try:
                await self._store.commit({key: encode(new)}, expect={key: item.modified})
            except Conflict:
                continue
            return
        raise Conflict(f"{instance_id} keeps changing", hint="try again")

    async def _switch(self, name: str, service: str | None, *, stopped: bool, grace: Seconds | None = None) -> Deployed:
        async def change(old: Deployment | None) -> Deployment:
            found = staying(name, old)
            since = {} if stopped else {"resumed_at": self._writer.now()}
            if service is None:
                desired = "stopped" if stopped else "running"
                services = dict(found.services)
                if not stopped:
                    services = {k: v.model_copy(update={"stopped": False}) for k, v in services.items()}
                if found.desired == desired and services == found.services and grace in (None, found.stop_grace):
                    return found
                return self._writer.following(found, desired=desired, services=services, stop_grace=grace, **since)
            wanted = _service(found, service)
            if wanted.stopped == stopped and grace in (None, found.stop_grace):
                return found
            services = {**found.services, service: wanted.model_copy(update={"stopped": stopped})}
            return self._writer.following(found, services=services, stop_grace=grace, **since)

        kind = "deployment.stopped" if stopped else "deployment.started"
        before, after = await self._writer.change(name, change, kind)
        return Deployed(name, after.revision, before is None or after.revision != before.revision)

    def _compile(self, text: str, file: str) -> Compiled:
        spec = load(text, file=file or "<stdin>")
        return compile_deployment(spec, environ=self._environ, base=base_of(file))

    async def _services(
        self, compiled: Compiled, old: Deployment | None, pull: PullPolicy | None
    ) -> dict[str, Service]:
        services: dict[str, Service] = {}
        pins = self._pins.for_one_deploy()
        for name, service in compiled.services.items():
            before = old.services.get(name) if old is not None else None
            container = service.container
            if pull is not None and container.source_policy != "local_only":
                container = container.model_copy(update={"pull_policy": pull})
            earlier = before.container if before is not None else None
            container = await pins.of(container, earlier, partial(self._seen, compiled.name, name))
            same = before is not None and before.container.digest() == container.digest()
            image = before.image_digest if before is not None and same else ""
            change = {"container": container, "replicas": carried(service, before), "image_digest": image}
            services[name] = service.model_copy(update=change)
        _refuse(services)
        await self._served(services)
        return services

    async def _served(self, services: Mapping[str, Service]) -> None:
        """`Unavailable` where endpoints are wanted and there is nothing to serve them with."""
        proxied = sorted(n for n, one in services.items() if any(e.transport == "tcp" for e in one.endpoints))
        if not proxied or self._proxy is None:
            return
        found = await self._proxy()
        if not found.ok:
            listed = ", ".join(proxied)
            raise Unavailable(f"the endpoints of {listed} cannot be served: {found.reason}", hint=found.fix)

    async def _seen(self, name: str, service: str | None = None) -> list[Seen]:
        status = {
            one.id: one for one in (_read_instancestatus(i.value) for i in (await self._store.list(keys.STATUS)).items)
        }
        instances = (_read_instance(i.value) for i in (await self._store.list(keys.INSTANCES)).items)
        return [
            Seen(one, status.get(one.id))
            for one in instances
            if one.deployment == name and service in (None, one.service)
        ]


def _refuse(services: Mapping[str, Service]) -> None:
    """`Invalid` with every update that cannot be as it is asked for."""
    problems = tuple(
        Problem(why, path=f"services.{name}", kind="Unfit")
        for name, service in services.items()
        for why in refusals(service)
    )
    if problems:
        raise Invalid("an update cannot be made the way the file says", problems=problems)


def _service(deployment: Deployment, name: str) -> Service:
    if name not in deployment.services:
        known = ", ".join(sorted(deployment.services)) or "none"
        raise NotFound(f"deployment {deployment.name} has no service {name}", hint=f"its services: {known}")
    return deployment.services[name]


def _scaled(deployment: Deployment, name: str, count: int) -> Service:
    service = _service(deployment, name)
    if count < 0:
        raise Invalid(f"cannot scale {name} to {count}", hint="give 0 or more")
    if service.scale_mode == "adaptive" and count > service.max_replicas:
        raise Invalid(
            f"{name} scales between {service.min_replicas} and {service.max_replicas} (adaptive), not to {count}",
            hint="raise scale.max in the file, or use scale: {mode: manual}",
        )
    return service.model_copy(update={"replicas": count})
