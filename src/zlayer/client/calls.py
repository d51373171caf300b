"""Every call of the API as a value: what to send, and how to read the answer. No sockets here.

`Client` and `AsyncClient` send the same calls, so neither can know a path or a field the other does not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from zlayer.client import image_results, results
from zlayer.client.record import Record

T = TypeVar("T")
R = TypeVar("R", bound=Record)
API = "/api/v1"
ALL_LINES = 1_000_000
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Call(Generic[T]):
    """`read` turns the JSON of the answer (of each line, for a stream) into what the caller gets."""

    __slots__ = ("body", "method", "read", "target")

    def __init__(self, method: str, target: str, read: Callable[[Any], T], body: object = None) -> None:
        self.method = method
        self.target = target
        self.read = read
        self.body = body


def quote(text: str, safe: str = "") -> str:
    """Percent-encode a path segment or query value (RFC 3986); `urllib.parse` costs 6 ms to import."""
    return "".join(c if c in SAFE or c in safe else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)


def query(**values: str | float | None) -> str:
    """`?a=1&b=true`, leaving out what is None or False."""
    said = {k: v for k, v in values.items() if v is not None and v is not False}
    return "?" + "&".join(f"{k}={quote(_text(v))}" for k, v in said.items()) if said else ""


def _text(value: str | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _deployment(name: str, *more: str) -> str:
    return "/".join((f"{API}/deployments", quote(name), *(quote(each) for each in more)))


def _none(_: object) -> None:
    return None


def status() -> Call[results.Status]:
    return Call("GET", f"{API}/status", results.Status.of)


def validate(spec: str, file: str) -> Call[Mapping[str, Any]]:
    return Call("POST", f"{API}/validate", dict, {"spec": spec, "file": file})


def plan(spec: str, file: str, pull: str | None) -> Call[results.Plan]:
    return Call("POST", f"{API}/deployments:plan", results.Plan.of, _spec(spec, file, pull))


def deploy(spec: str, file: str, pull: str | None, revision: int | None) -> Call[results.Accepted]:
    body = _spec(spec, file, pull)
    if revision is not None:
        body["revision"] = revision
    return Call("POST", f"{API}/deployments", results.Accepted.of, body)


def _spec(spec: str, file: str, pull: str | None) -> dict[str, object]:
    body: dict[str, object] = {"spec": spec, "file": file}
    return body | {"pull": pull} if pull else body


def deployments() -> Call[tuple[results.Deployment, ...]]:
    return Call("GET", f"{API}/deployments", results.Deployment.all)


def deployment(name: str) -> Call[results.Deployment]:
    return Call("GET", _deployment(name), results.Deployment.of)


def remove(name: str) -> Call[None]:
    return Call("DELETE", _deployment(name), _none)


def stop(name: str, service: str | None, grace: float | None) -> Call[None]:
    body = {k: v for k, v in {"service": service, "grace": grace}.items() if v is not None}
    return Call("POST", _deployment(name, "stop"), _none, body)


def start(name: str, service: str | None) -> Call[None]:
    return Call("POST", _deployment(name, "start"), _none, {"service": service} if service else {})


def scale(name: str, services: Mapping[str, int]) -> Call[None]:
    return Call("POST", _deployment(name, "scale"), _none, {"services": dict(services)})


def containers(deployment: str | None) -> Call[tuple[results.Container, ...]]:
    return Call("GET", f"{API}/instances{query(deployment=deployment)}", results.Container.all)


def remove_container(instance: str) -> Call[None]:
    return Call("DELETE", f"{API}/instances/{quote(instance)}", _none)


def execute(deployment: str, service: str, body: Mapping[str, object]) -> Call[results.ExecResult]:
    target = _deployment(deployment, "services", service, "exec")
    return Call("POST", target, results.ExecResult.of, dict(body))


def images() -> Call[tuple[results.Image, ...]]:
    return Call("GET", f"{API}/images", results.Image.all)


def image(reference: str) -> Call[Mapping[str, Any]]:
    return Call("GET", f"{API}/images/{quote(reference, '/:@')}", dict)


def remove_image(reference: str) -> Call[Sequence[str]]:
    return Call("DELETE", f"{API}/images/{quote(reference, '/:@')}", _deleted)


def _deleted(doc: object) -> Sequence[str]:
    found: object = doc.get("deleted", ()) if isinstance(doc, dict) else doc
    return tuple(str(each) for each in found) if isinstance(found, list | tuple) else ()


def runtimes() -> Call[tuple[results.Runtime, ...]]:
    return Call("GET", f"{API}/runtimes", results.Runtime.all)


def history(name: str) -> Call[tuple[results.Revision, ...]]:
    return Call("GET", _deployment(name, "history"), results.Revision.all)


def rollback(name: str, to: int | None) -> Call[results.Accepted]:
    return Call("POST", _deployment(name, "rollback"), results.Accepted.of, {} if to is None else {"to": to})


def steer(name: str, verb: str) -> Call[results.Accepted]:
    """`verb`: pause, resume or abort the update under way."""
    return Call("POST", _deployment(name, verb), results.Accepted.of)


def why(name: str, service: str) -> Call[tuple[results.Waiting, ...]]:
    return Call("GET", _deployment(name, "services", service, "why"), results.Waiting.all)


def proxy_routes() -> Call[tuple[results.ProxyRoute, ...]]:
    return Call("GET", f"{API}/proxy/routes", results.ProxyRoute.all)


def proxy_backends() -> Call[tuple[results.ProxyBackend, ...]]:
    return Call("GET", f"{API}/proxy/backends", results.ProxyBackend.all)


def certificates() -> Call[tuple[results.Certificate, ...]]:
    return Call("GET", f"{API}/certificates", results.Certificate.all)


def certificate(name: str) -> Call[results.Certificate]:
    return Call("GET", f"{API}/certificates/{quote(name)}", results.Certificate.of)


def renew(name: str) -> Call[results.Certificate]:
    return Call("POST", f"{API}/certificates/{quote(name)}/renew", results.Certificate.of)


def nodes() -> Call[Sequence[Mapping[str, Any]]]:
    return Call("GET", f"{API}/nodes", tuple)


# Streams: `read` is for each line.


class LogQuery(Record):
    """Which lines: the newest `lines` (None: all there are), not older than `since` (RFC 3339, or `10m` ago).

    `replica` needs a service. `follow` goes on with what is written from now on.
    """

    service: str | None = None
    replica: int | None = None
    lines: int | None = 100
    since: str | None = None
    follow: bool = False


def logs(deployment: str, wanted: LogQuery) -> Call[results.LogLine]:
    parts = ("services", wanted.service, "logs") if wanted.service else ("logs",)
    return Call("GET", _deployment(deployment, *parts) + _window(wanted), results.LogLine.of)


def instance_logs(instance: str, wanted: LogQuery) -> Call[results.LogLine]:
    return Call("GET", f"{API}/instances/{quote(instance)}/logs{_window(wanted)}", results.LogLine.of)


def _window(wanted: LogQuery) -> str:
    return query(
        lines=ALL_LINES if wanted.lines is None else wanted.lines,
        follow=wanted.follow or None,
        since=wanted.since,
        instance=wanted.replica,
    )


def events(since: str | None, *, follow: bool) -> Call[results.Event]:
    return Call("GET", f"{API}/events{query(follow=follow or None, since=since)}", results.Event.of)


def run(body: Mapping[str, object]) -> Call[results.RunEvent]:
    return Call("POST", f"{API}/run", results.RunEvent.of, dict(body))


def pull(
    reference: str, policy: str | None, platform: str | None, limit_rate: int | None = None
) -> Call[results.PullProgress | results.Image]:
    body = {"reference": reference, "policy": policy or None, "platform": platform or None, "limit_rate": limit_rate}
    return Call("POST", f"{API}/images/pull", _pulled, {k: v for k, v in body.items() if v is not None})


def _pulled(doc: Mapping[str, Any]) -> results.PullProgress | results.Image:
    return results.Image.of(doc["image"]) if "image" in doc else results.PullProgress.of(doc)


def push(reference: str, target: str) -> Call[results.PullProgress | results.Pushed]:
    return Call("POST", f"{API}/images/push", _pushed, {"reference": reference, "target": target})


def _pushed(doc: Mapping[str, Any]) -> results.PullProgress | results.Pushed:
    return results.Pushed.of(doc["pushed"]) if "pushed" in doc else results.PullProgress.of(doc)


def verify(references: Sequence[str], *, repair: bool) -> Call[results.PullProgress | image_results.Verified]:
    return Call("POST", f"{API}/images/verify", _verified, {"references": list(references), "repair": repair})


def _verified(doc: Mapping[str, Any]) -> results.PullProgress | image_results.Verified:
    return image_results.Verified.of(doc["verified"]) if "verified" in doc else results.PullProgress.of(doc)


def tag(source: str, target: str) -> Call[results.Image]:
    return Call("POST", f"{API}/images/tag", results.Image.of, {"source": source, "target": target})


def export(references: Sequence[str], compression: str) -> str:
    """The target of the archive of these images."""
    named = "&".join(f"reference={quote(one, '/:@')}" for one in references)
    return f"{API}/images/export?{named}" + (f"&compression={compression}" if compression else "")


def import_archive(name: str, *, rootfs: bool, platform: str | None = None) -> str:
    """The target an archive is posted to."""
    return f"{API}/images/import{query(name=name or None, rootfs=rootfs or None, platform=platform)}"


def disk_usage() -> Call[results.DiskUsage]:
    return Call("GET", f"{API}/system/df", results.DiskUsage.of)


def prune(*, unused: bool, older_than: float, dry_run: bool) -> Call[results.Reclaimed]:
    body = {"unused": unused, "older_than": older_than, "dry_run": dry_run}
    return Call("POST", f"{API}/system/prune", results.Reclaimed.of, body)


def image_history(reference: str) -> Call[tuple[results.Origin, ...]]:
    return Call("GET", f"{API}/images/history{query(reference=reference)}", results.Origin.all)


def referrers(reference: str, kind: str) -> Call[tuple[image_results.Referrer, ...]]:
    asked = query(reference=reference, type=kind or None)
    return Call("GET", f"{API}/images/referrers{asked}", image_results.Referrer.all)


def attach(reference: str, kind: str, name: str) -> str:
    """The target a file is posted to."""
    return f"{API}/images/attach{query(reference=reference, type=kind, name=name or None)}"


def sbom(reference: str, kind: str) -> Call[image_results.Sbom]:
    return Call("GET", f"{API}/images/sbom{query(reference=reference, type=kind or None)}", image_results.Sbom.of)


def image_trust(reference: str) -> Call[results.Trust]:
    return Call("GET", f"{API}/images/trust{query(reference=reference)}", results.Trust.of)


def parcel(reference: str) -> Call[image_results.Parcel]:
    return Call("GET", f"{API}/images/parcel{query(reference=reference)}", image_results.Parcel.read)


def missing(parcel: image_results.Parcel) -> Call[tuple[image_results.Part, ...]]:
    return Call("POST", f"{API}/images/missing", _missing, parcel.body())


def _missing(doc: Mapping[str, Any]) -> tuple[image_results.Part, ...]:
    return image_results.Part.all(doc["missing"])


def blob(part: image_results.Part) -> str:
    """The target a blob is read from, or posted to, from byte `here` on."""
    return f"{API}/images/blobs{query(digest=part.digest, size=part.size, offset=part.here)}"


def accept(parcel: image_results.Parcel) -> Call[results.PullProgress | results.Image]:
    return Call("POST", f"{API}/images/accept", _pulled, parcel.body())


def logins() -> Call[tuple[results.Login, ...]]:
    return Call("GET", f"{API}/registries", results.Login.all)


def login(registry: str, username: str, password: str) -> Call[results.Login]:
    body = {"registry": registry, "username": username, "password": password}
    return Call("POST", f"{API}/registries/login", results.Login.of, body)


def logout(registry: str) -> Call[results.Login]:
    return Call("DELETE", f"{API}/registries/{quote(registry, ':')}", results.Login.of)


def line(call: Call[T], raw: bytes) -> T | None:
    """One line of a stream; None for an empty one. A line that is `{"error": problem}` is raised."""
    if not raw.strip():
        return None
    doc = json.loads(raw)
    problem = doc.get("error") if isinstance(doc, dict) else None
    if isinstance(problem, dict):
        from zlayer.model.errors import from_document

        raise from_document(problem)
    return call.read(doc)


def followed(name: str) -> Call[results.Deployment | results.ProgressEvent]:
    """The progress of a deployment as server-sent events; read with `ServerEvents`."""
    return Call("GET", _deployment(name, "events"), results.ProgressEvent.of)


class ServerEvents:
    """Reads server-sent events (HTML standard, section 9.2) line by line."""

    def __init__(self) -> None:
        self._kind = ""
        self._data: list[str] = []

    def feed(self, raw: bytes) -> results.Deployment | results.ProgressEvent | None:
        """The event this line ends, if it ends one: a summary for `event: status`, else a step of the progress."""
        text = raw.decode("utf-8", "replace").rstrip("\r")
        if text:
            name, _, value = text.partition(":")
            if name == "event":
                self._kind = value.strip()
            elif name == "data":
                self._data.append(value.removeprefix(" "))
            return None
        kind, data = self._kind, "\n".join(self._data)
        self._kind, self._data = "", []
        if not data:
            return None
        doc = json.loads(data)
        if kind == "error":
            from zlayer.model.errors import from_document

            raise from_document(doc)
        return results.Deployment.of(doc) if kind == "status" else results.ProgressEvent.of(doc)


def channel_targets(deployment: str, service: str) -> str:
    """The WebSocket target of an exec."""
    return _deployment(deployment, "services", service, "exec")
