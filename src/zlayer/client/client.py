"""The synchronous client."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from zlayer.client import calls, connect, image_results, results, transport
from zlayer.client.calls import Call, LogQuery

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zlayer.client.websocket import WebSocket

T = TypeVar("T")


class Client:
    """One daemon, over its unix socket or TCP. Holds no connection, so it may be shared between threads.

    `timeout` is seconds per read of a plain call; streams wait for ever. Every method raises `Unavailable` when no
    daemon answers, `Deadline` when it is silent, `Denied` without the right, and else the daemon's own error, which
    is one of `zlayer.model.errors`. Nothing is retried.
    """

    def __init__(self, address: transport.Address, *, timeout: float = 30.0) -> None:
        self.address = address
        self.timeout = timeout

    @classmethod
    def from_env(cls, data_dir: str | None = None) -> Client:
        """The daemon `ZLAYER_HOST` or the data directory names. It is not started; see `connect.ensure_daemon`."""
        return cls(connect.find(data_dir))

    def send(self, call: Call[T]) -> T:
        with transport.request(
            self.address, call.method, call.target, body=call.body, timeout=self.timeout
        ) as response:
            return call.read(response.json())

    def stream(self, call: Call[T]) -> Generator[T, None, None]:
        """Each line of the answer as it arrives; closing the iterator hangs up."""
        with self._open(call) as response:
            for raw in response.lines():
                if (item := calls.line(call, raw)) is not None:
                    yield item

    def _open(self, call: Call[T], accept: str = "application/x-ndjson") -> transport.Response:
        """The answer, begun within `timeout`: a daemon that takes connections and says nothing is told as such."""
        headers = {"Accept": accept}
        response = transport.request(
            self.address, call.method, call.target, body=call.body, headers=headers, timeout=self.timeout
        )
        response.patience(None)
        return response

    # The daemon

    def status(self) -> results.Status:
        return self.send(calls.status())

    def runtimes(self) -> tuple[results.Runtime, ...]:
        return self.send(calls.runtimes())

    def history(self, name: str) -> tuple[results.Revision, ...]:
        return self.send(calls.history(name))

    def rollback(self, name: str, to: int | None = None) -> results.Accepted:
        """Go back to a revision, else to the last good one."""
        return self.send(calls.rollback(name, to))

    def steer(self, name: str, verb: str) -> results.Accepted:
        """`pause`, `resume` or `abort` the update under way."""
        return self.send(calls.steer(name, verb))

    def why(self, name: str, service: str) -> tuple[results.Waiting, ...]:
        return self.send(calls.why(name, service))

    def proxy_routes(self) -> tuple[results.ProxyRoute, ...]:
        return self.send(calls.proxy_routes())

    def proxy_backends(self) -> tuple[results.ProxyBackend, ...]:
        return self.send(calls.proxy_backends())

    def certificates(self) -> tuple[results.Certificate, ...]:
        return self.send(calls.certificates())

    def certificate(self, name: str) -> results.Certificate:
        """One of them, with its chain."""
        return self.send(calls.certificate(name))

    def renew(self, name: str) -> results.Certificate:
        """Want a new one now. `Unsupported` where it cannot be had, `Unavailable` while the CA takes nothing."""
        return self.send(calls.renew(name))

    def nodes(self) -> Sequence[Mapping[str, Any]]:
        return self.send(calls.nodes())

    def events(self, *, since: str | None = None, follow: bool = False) -> Generator[results.Event, None, None]:
        """What happened, oldest first; `since` is RFC 3339 or a duration such as `10m`. `follow` goes on for ever."""
        return self.stream(calls.events(since, follow=follow))

    # Deployments

    def validate(self, spec: str, *, file: str = "") -> Mapping[str, Any]:
        """`{valid, errors}`: every fault of a spec, without keeping it."""
        return self.send(calls.validate(spec, file))

    def plan(self, spec: str, *, file: str = "", pull: str | None = None) -> results.Plan:
        """What `deploy` would change. Changes nothing. `Invalid` lists every fault of the spec."""
        return self.send(calls.plan(spec, file, pull))

    def deploy(
        self, spec: str, *, file: str = "", pull: str | None = None, revision: int | None = None
    ) -> results.Accepted:
        """Make a spec durable; when this returns it survives a crash, and nothing may have started yet.

        `revision` of a plan makes it `Conflict` when the deployment changed since. Sending the same spec again
        changes nothing.
        """
        return self.send(calls.deploy(spec, file, pull, revision))

    def deployments(self) -> tuple[results.Deployment, ...]:
        return self.send(calls.deployments())

    def deployment(self, name: str) -> results.Deployment:
        return self.send(calls.deployment(name))

    def spec(self, name: str) -> str:
        """The YAML text as it was sent."""
        target = f"{calls.API}/deployments/{calls.quote(name)}/spec"
        with transport.request(
            self.address, "GET", target, headers={"Accept": "*/*"}, timeout=self.timeout
        ) as response:
            return response.read().decode()

    def remove(self, name: str) -> None:
        """Wish a deployment gone. Returns before it is; `deployment` raises `NotFound` once it is."""
        self.send(calls.remove(name))

    def stop(self, name: str, *, service: str | None = None, grace: float | None = None) -> None:
        """Wish a deployment or one service stopped; `grace` seconds between its stop signal and the kill."""
        self.send(calls.stop(name, service, grace))

    def start(self, name: str, *, service: str | None = None) -> None:
        self.send(calls.start(name, service))

    def scale(self, name: str, services: Mapping[str, int]) -> None:
        self.send(calls.scale(name, services))

    def follow(
        self, name: str, *, patience: float | None = None
    ) -> Generator[results.Deployment | results.ProgressEvent, None, None]:
        """Its summary now and on each change, and its progress as it happens. Never ends by itself.

        `Deadline` after `patience` seconds of silence.
        """
        reader = calls.ServerEvents()
        with self._open(calls.followed(name), "text/event-stream") as response:
            if patience is not None:
                response.patience(patience)
            for raw in response.lines():
                if (item := reader.feed(raw)) is not None:
                    yield item

    # Containers

    def containers(self, deployment: str | None = None) -> tuple[results.Container, ...]:
        return self.send(calls.containers(deployment))

    def remove_container(self, instance: str) -> None:
        """End and remove a one-off instance."""
        self.send(calls.remove_container(instance))

    def logs(self, deployment: str, wanted: LogQuery | None = None) -> Generator[results.LogLine, None, None]:
        """Lines of a service, or of all, oldest first; with `follow` it ends when the caller stops."""
        return self.stream(calls.logs(deployment, wanted or LogQuery()))

    def instance_logs(self, instance: str, wanted: LogQuery | None = None) -> Generator[results.LogLine, None, None]:
        return self.stream(calls.instance_logs(instance, wanted or LogQuery()))

    def exec(self, deployment: str, service: str, command: Sequence[str], **options: object) -> results.ExecResult:
        """Run a command in a running replica and wait. Options: `env`, `user`, `workdir`, `slot`."""
        return self.send(calls.execute(deployment, service, {"command": list(command), **options}))

    def open_exec(self, deployment: str, service: str, request: Mapping[str, object]) -> WebSocket:
        """An exec with live stdio: binary frames, first byte 0 stdin, 1 stdout, 2 stderr."""
        return self._channel(calls.channel_targets(deployment, service), request)

    # One-offs

    def run(self, request: Mapping[str, object]) -> Generator[results.RunEvent, None, None]:
        """Pull, create, run to the end. Hanging up does not end the container."""
        return self.stream(calls.run(request))

    def open_run(self, request: Mapping[str, object]) -> WebSocket:
        """A one-off with live stdio; frames as in `open_exec`."""
        return self._channel(f"{calls.API}/run", request)

    def _channel(self, target: str, request: Mapping[str, object]) -> WebSocket:
        from zlayer.client import websocket

        channel = websocket.connect(self.address, target, timeout=self.timeout)
        channel.send(json.dumps(request))
        return channel

    # Images

    def images(self) -> tuple[results.Image, ...]:
        return self.send(calls.images())

    def image(self, reference: str) -> Mapping[str, Any]:
        return self.send(calls.image(reference))

    def remove_image(self, reference: str) -> Sequence[str]:
        """Forget an image; gives what was deleted. `Conflict` while an instance uses it."""
        return self.send(calls.remove_image(reference))

    def pull(
        self,
        reference: str,
        *,
        policy: str | None = None,
        platform: str | None = None,
        limit_rate: int | None = None,
    ) -> Generator[results.PullProgress | results.Image, None, None]:
        """How each blob stands, then the image, last."""
        return self.stream(calls.pull(reference, policy, platform, limit_rate))

    def push(self, reference: str, target: str = "") -> Generator[results.PullProgress | results.Pushed, None, None]:
        """How each blob stands, then where the image is, last. `target`: another name for it to go to."""
        return self.stream(calls.push(reference, target))

    def verify(
        self, references: Sequence[str] = (), *, repair: bool = False
    ) -> Generator[results.PullProgress | image_results.Verified, None, None]:
        """What is being looked at, then what was wrong, last. No references: all that is kept."""
        return self.stream(calls.verify(references, repair=repair))

    def export(self, references: Sequence[str], *, compression: str = "") -> Generator[bytes, None, None]:
        """The images as one tar, in pieces. `compression`: `gzip` or `zstd`."""
        target = calls.export(references, compression)
        headers = {"Accept": "application/x-tar"}
        with transport.request(self.address, "GET", target, headers=headers, timeout=self.timeout) as response:
            response.patience(None)
            yield from response.chunks()

    def import_archive(
        self, pieces: Iterable[bytes], *, name: str = "", rootfs: bool = False, platform: str | None = None
    ) -> tuple[results.Image, ...]:
        """Send an archive; the images that were in it. `rootfs`: a plain tree, for one image called `name`."""
        target = calls.import_archive(name, rootfs=rootfs, platform=platform)
        headers = {"Content-Type": "application/x-tar"}
        with transport.upload(self.address, target, pieces, headers=headers, timeout=self.timeout) as response:
            return results.Image.all(response.json())

    def tag(self, source: str, target: str) -> results.Image:
        """The same image under another name as well."""
        return self.send(calls.tag(source, target))

    def referrers(self, reference: str, *, kind: str = "") -> tuple[image_results.Referrer, ...]:
        """What is attached to an image at its registry; `kind`: of that artifact type only."""
        return self.send(calls.referrers(reference, kind))

    def attach(self, reference: str, pieces: Iterable[bytes], *, kind: str, name: str = "") -> image_results.Attached:
        """Attach content to an image at its registry. `kind`: its media type; `name`: its file name."""
        target, headers = calls.attach(reference, kind, name), {"Content-Type": "application/octet-stream"}
        with transport.upload(self.address, target, pieces, headers=headers, timeout=self.timeout) as response:
            return image_results.Attached.of(response.json())

    def sbom(self, reference: str, *, kind: str = "") -> image_results.Sbom:
        return self.send(calls.sbom(reference, kind))

    def parcel(self, reference: str) -> image_results.Parcel:
        """What a local image stands on, to send it to another node. What was given back is fetched again first."""
        call = calls.parcel(reference)
        with transport.request(self.address, call.method, call.target, timeout=None) as response:
            return call.read(response.json())

    def missing(self, parcel: image_results.Parcel) -> tuple[image_results.Part, ...]:
        """What this node lacks of an image of another."""
        return self.send(calls.missing(parcel))

    def read_blob(self, part: image_results.Part) -> Generator[bytes, None, None]:
        """A blob of a local image, from byte `here` on."""
        with transport.request(
            self.address, "GET", calls.blob(part), headers={"Accept": "*/*"}, timeout=self.timeout
        ) as response:
            yield from response.chunks()

    def send_blob(self, part: image_results.Part, pieces: Iterable[bytes]) -> image_results.Part:
        """Give this node a blob, from byte `here` on; how much of it is there now."""
        headers = {"Content-Type": "application/octet-stream"}
        with transport.upload(
            self.address, calls.blob(part), pieces, headers=headers, timeout=self.timeout
        ) as response:
            return image_results.Part.of(response.json())

    def accept(self, parcel: image_results.Parcel) -> Generator[results.PullProgress | results.Image, None, None]:
        """Make an image of what was sent: how each layer stands, then the image, last."""
        return self.stream(calls.accept(parcel))

    def logins(self) -> tuple[results.Login, ...]:
        return self.send(calls.logins())

    def login(self, registry: str, username: str, password: str) -> results.Login:
        """Try it, then keep it in the daemon. `Denied`: the registry does not take it."""
        return self.send(calls.login(registry, username, password))

    def logout(self, registry: str) -> results.Login:
        return self.send(calls.logout(registry))

    def disk_usage(self) -> results.DiskUsage:
        return self.send(calls.disk_usage())

    def prune(self, *, unused: bool = False, older_than: float = 0.0, dry_run: bool = False) -> results.Reclaimed:
        """Give back what nothing needs; with `unused` also images that nothing runs, not used for so many seconds."""
        return self.send(calls.prune(unused=unused, older_than=older_than, dry_run=dry_run))

    def image_history(self, reference: str) -> tuple[results.Origin, ...]:
        """How an image came to be, oldest first."""
        return self.send(calls.image_history(reference))

    def image_trust(self, reference: str) -> results.Trust:
        """Which policy is for an image, whether it may run, and by which signature."""
        return self.send(calls.image_trust(reference))
