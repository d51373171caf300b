"""The asynchronous client: the methods of `Client`, awaited, under asyncio or trio."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import anyio

from zlayer.client import async_transport, calls, connect, image_results, results, transport
from zlayer.client.async_transport import AsyncResponse, AsyncWebSocket
from zlayer.client.calls import Call, LogQuery

T = TypeVar("T")


class AsyncClient:
    """One daemon. Holds no connection, so tasks may share it; cancelling a call hangs up.

    Guarantees and errors are those of `client.Client`, method by method.
    """

    def __init__(self, address: transport.Address, *, timeout: float = 30.0) -> None:
        self.address = address
        self.timeout = timeout

    @classmethod
    def from_env(cls, data_dir: str | None = None) -> AsyncClient:
        """The daemon `ZLAYER_HOST` or the data directory names."""
        return cls(connect.find(data_dir))

    async def send(self, call: Call[T]) -> T:
        try:
            with anyio.fail_after(self.timeout):
                async with async_transport.request(
                    self.address, call.method, call.target, body=call.body, timeout=self.timeout
                ) as response:
                    return call.read(json.loads(await response.read() or b"null"))
        except TimeoutError as error:
            transport.failed(self.address, error)

    async def stream(self, call: Call[T]) -> AsyncGenerator[T, None]:
        """Each line of the answer as it arrives; closing the iterator hangs up."""
        async with self._open(call, "application/x-ndjson") as response:
            async for raw in response.lines():
                if (item := calls.line(call, raw)) is not None:
                    yield item

    def _open(self, call: Call[T], accept: str) -> AbstractAsyncContextManager[AsyncResponse]:
        return async_transport.request(
            self.address,
            call.method,
            call.target,
            body=call.body,
            headers={"Accept": accept},
            timeout=self.timeout,
        )

    # The daemon

    async def status(self) -> results.Status:
        return await self.send(calls.status())

    async def history(self, name: str) -> tuple[results.Revision, ...]:
        return await self.send(calls.history(name))

    async def rollback(self, name: str, to: int | None = None) -> results.Accepted:
        """Go back to a revision, else to the last good one."""
        return await self.send(calls.rollback(name, to))

    async def steer(self, name: str, verb: str) -> results.Accepted:
        """`pause`, `resume` or `abort` the update under way."""
        return await self.send(calls.steer(name, verb))

    async def why(self, name: str, service: str) -> tuple[results.Waiting, ...]:
        return await self.send(calls.why(name, service))

    async def proxy_routes(self) -> tuple[results.ProxyRoute, ...]:
        return await self.send(calls.proxy_routes())

    async def proxy_backends(self) -> tuple[results.ProxyBackend, ...]:
        return await self.send(calls.proxy_backends())

    async def runtimes(self) -> tuple[results.Runtime, ...]:
        return await self.send(calls.runtimes())

    async def certificates(self) -> tuple[results.Certificate, ...]:
        return await self.send(calls.certificates())

    async def certificate(self, name: str) -> results.Certificate:
        """One of them, with its chain."""
        return await self.send(calls.certificate(name))

    async def renew(self, name: str) -> results.Certificate:
        """Want a new one now. `Unsupported` where it cannot be had, `Unavailable` while the CA takes nothing."""
        return await self.send(calls.renew(name))

    async def nodes(self) -> Sequence[Mapping[str, Any]]:
        return await self.send(calls.nodes())

    def events(self, *, since: str | None = None, follow: bool = False) -> AsyncGenerator[results.Event, None]:
        return self.stream(calls.events(since, follow=follow))

    # Deployments

    async def validate(self, spec: str, *, file: str = "") -> Mapping[str, Any]:
        return await self.send(calls.validate(spec, file))

    async def plan(self, spec: str, *, file: str = "", pull: str | None = None) -> results.Plan:
        return await self.send(calls.plan(spec, file, pull))

    async def deploy(
        self, spec: str, *, file: str = "", pull: str | None = None, revision: int | None = None
    ) -> results.Accepted:
        return await self.send(calls.deploy(spec, file, pull, revision))

    async def deployments(self) -> tuple[results.Deployment, ...]:
        return await self.send(calls.deployments())

    async def deployment(self, name: str) -> results.Deployment:
        return await self.send(calls.deployment(name))

    async def spec(self, name: str) -> str:
        target = f"{calls.API}/deployments/{calls.quote(name)}/spec"
        async with async_transport.request(
            self.address, "GET", target, headers={"Accept": "*/*"}, timeout=self.timeout
        ) as response:
            return (await response.read()).decode()

    async def remove(self, name: str) -> None:
        await self.send(calls.remove(name))

    async def stop(self, name: str, *, service: str | None = None, grace: float | None = None) -> None:
        await self.send(calls.stop(name, service, grace))

    async def start(self, name: str, *, service: str | None = None) -> None:
        await self.send(calls.start(name, service))

    async def scale(self, name: str, services: Mapping[str, int]) -> None:
        await self.send(calls.scale(name, services))

    async def follow(self, name: str) -> AsyncGenerator[results.Deployment | results.ProgressEvent, None]:
        reader = calls.ServerEvents()
        async with self._open(calls.followed(name), "text/event-stream") as response:
            async for raw in response.lines():
                if (item := reader.feed(raw)) is not None:
                    yield item

    # Containers

    async def containers(self, deployment: str | None = None) -> tuple[results.Container, ...]:
        return await self.send(calls.containers(deployment))

    async def remove_container(self, instance: str) -> None:
        await self.send(calls.remove_container(instance))

    def logs(self, deployment: str, wanted: LogQuery | None = None) -> AsyncGenerator[results.LogLine, None]:
        return self.stream(calls.logs(deployment, wanted or LogQuery()))

    def instance_logs(self, instance: str, wanted: LogQuery | None = None) -> AsyncGenerator[results.LogLine, None]:
        return self.stream(calls.instance_logs(instance, wanted or LogQuery()))

    async def exec(
        self, deployment: str, service: str, command: Sequence[str], **options: object
    ) -> results.ExecResult:
        return await self.send(calls.execute(deployment, service, {"command": list(command), **options}))

    def open_exec(
        self, deployment: str, service: str, request: Mapping[str, object]
    ) -> AbstractAsyncContextManager[AsyncWebSocket]:
        return self._channel(calls.channel_targets(deployment, service), request)

    # One-offs

    def run(self, request: Mapping[str, object]) -> AsyncGenerator[results.RunEvent, None]:
        return self.stream(calls.run(request))

    def open_run(self, request: Mapping[str, object]) -> AbstractAsyncContextManager[AsyncWebSocket]:
        return self._channel(f"{calls.API}/run", request)

    @asynccontextmanager
    async def _channel(self, target: str, request: Mapping[str, object]) -> AsyncIterator[AsyncWebSocket]:
        async with async_transport.open_websocket(self.address, target, timeout=self.timeout) as channel:
            await channel.send(request)
            yield channel

    # Images

    async def images(self) -> tuple[results.Image, ...]:
        return await self.send(calls.images())

    async def image(self, reference: str) -> Mapping[str, Any]:
        return await self.send(calls.image(reference))

    async def remove_image(self, reference: str) -> Sequence[str]:
        return await self.send(calls.remove_image(reference))

    def pull(
        self,
        reference: str,
        *,
        policy: str | None = None,
        platform: str | None = None,
        limit_rate: int | None = None,
    ) -> AsyncGenerator[results.PullProgress | results.Image, None]:
        return self.stream(calls.pull(reference, policy, platform, limit_rate))

    def push(self, reference: str, target: str = "") -> AsyncGenerator[results.PullProgress | results.Pushed, None]:
        """How each blob stands, then where the image is, last. `target`: another name for it to go to."""
        return self.stream(calls.push(reference, target))

    def verify(
        self, references: Sequence[str] = (), *, repair: bool = False
    ) -> AsyncGenerator[results.PullProgress | image_results.Verified, None]:
        """What is being looked at, then what was wrong, last. No references: all that is kept."""
        return self.stream(calls.verify(references, repair=repair))

    async def export(self, references: Sequence[str], *, compression: str = "") -> AsyncGenerator[bytes, None]:
        target = calls.export(references, compression)
        headers = {"Accept": "application/x-tar"}
        async with async_transport.request(
            self.address, "GET", target, headers=headers, timeout=self.timeout
        ) as response:
            async for piece in response.chunks():
                yield piece

    async def import_archive(
        self, pieces: AsyncIterable[bytes], *, name: str = "", rootfs: bool = False, platform: str | None = None
    ) -> tuple[results.Image, ...]:
        target = calls.import_archive(name, rootfs=rootfs, platform=platform)
        headers = {"Content-Type": "application/x-tar"}
        async with async_transport.upload(
            self.address, target, pieces, headers=headers, timeout=self.timeout
        ) as response:
            return results.Image.all(json.loads(await response.read()))

    async def tag(self, source: str, target: str) -> results.Image:
        """The same image under another name as well."""
        return await self.send(calls.tag(source, target))

    async def referrers(self, reference: str, *, kind: str = "") -> tuple[image_results.Referrer, ...]:
        return await self.send(calls.referrers(reference, kind))

    async def attach(
        self, reference: str, pieces: AsyncIterable[bytes], *, kind: str, name: str = ""
    ) -> image_results.Attached:
        """Attach content to an image at its registry. `kind`: its media type; `name`: its file name."""
        target, headers = calls.attach(reference, kind, name), {"Content-Type": "application/octet-stream"}
        async with async_transport.upload(
            self.address, target, pieces, headers=headers, timeout=self.timeout
        ) as response:
            return image_results.Attached.of(json.loads(await response.read()))

    async def sbom(self, reference: str, *, kind: str = "") -> image_results.Sbom:
        return await self.send(calls.sbom(reference, kind))

    async def parcel(self, reference: str) -> image_results.Parcel:
        call = calls.parcel(reference)
        async with async_transport.request(self.address, call.method, call.target, timeout=math.inf) as response:
            return call.read(json.loads(await response.read()))

    async def missing(self, parcel: image_results.Parcel) -> tuple[image_results.Part, ...]:
        return await self.send(calls.missing(parcel))

    async def read_blob(self, part: image_results.Part) -> AsyncGenerator[bytes, None]:
        async with async_transport.request(
            self.address, "GET", calls.blob(part), headers={"Accept": "*/*"}, timeout=self.timeout
        ) as response:
            async for piece in response.chunks():
                yield piece

    async def send_blob(self, part: image_results.Part, pieces: AsyncIterable[bytes]) -> image_results.Part:
        headers = {"Content-Type": "application/octet-stream"}
        async with async_transport.upload(
            self.address, calls.blob(part), pieces, headers=headers, timeout=self.timeout
        ) as response:
            return image_results.Part.of(json.loads(await response.read()))

    def accept(self, parcel: image_results.Parcel) -> AsyncGenerator[results.PullProgress | results.Image, None]:
        return self.stream(calls.accept(parcel))

    async def logins(self) -> tuple[results.Login, ...]:
        return await self.send(calls.logins())

    async def login(self, registry: str, username: str, password: str) -> results.Login:
        """Try it, then keep it in the daemon. `Denied`: the registry does not take it."""
        return await self.send(calls.login(registry, username, password))

    async def logout(self, registry: str) -> results.Login:
        return await self.send(calls.logout(registry))

    async def disk_usage(self) -> results.DiskUsage:
        return await self.send(calls.disk_usage())

    async def prune(self, *, unused: bool = False, older_than: float = 0.0, dry_run: bool = False) -> results.Reclaimed:
        """Give back what nothing needs; with `unused` also images that nothing runs, not used for so many seconds."""
        return await self.send(calls.prune(unused=unused, older_than=older_than, dry_run=dry_run))

    async def image_history(self, reference: str) -> tuple[results.Origin, ...]:
        """How an image came to be, oldest first."""
        return await self.send(calls.image_history(reference))

    async def image_trust(self, reference: str) -> results.Trust:
        """Which policy is for an image, whether it may run, and by which signature."""
        return await self.send(calls.image_trust(reference))
