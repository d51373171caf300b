"""A client for one registry: manifests and blobs by the OCI distribution-spec. Its write side is `registry_push`.

It tries again what may heal, follows redirects without carrying the login to another host, and turns every refusal
into the error tree. Blocking; used in the worker process's threads.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from zlayer.image import credentials
from zlayer.image.blobs import digest_of
from zlayer.image.rate import Bucket
from zlayer.image.reference import DOCKER_HUB, Reference, is_digest
from zlayer.image.registry_auth import Authorizer
from zlayer.image.registry_retry import RETRIED_STATUSES, Patience, Pause, retry_after, wait
from zlayer.image.registry_transport import Answer, Readable, Request, Transport
from zlayer.image.settings import HUB_ENDPOINT, RegistryHost, RegistrySettings, host_of, is_loopback
from zlayer.model.errors import Corrupt, Failed, NotFound, Unavailable, ZlayerError

MAX_MANIFEST = 4 * 1024 * 1024
MAX_REDIRECTS = 10
ACCEPT = ", ".join((
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json", "*/*;q=0.1",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fetched:
    """A manifest's bytes as they came, with their verified digest; `etag` if it is one that compares whole bytes."""

    body: bytes
    digest: str
    media_type: str
    etag: str = ""


class Registry:
    """One repository. Safe to use from several threads; they share its login and its connections.

    `rights` are what a token is asked for: `pull`, `pull,push`, or nothing but who one is; `also` are further scopes.
    """

    def __init__(
        self,
        reference: Reference,
        settings: RegistrySettings,
        environ: Mapping[str, str],
        *,
        rights: str = "pull",
        also: tuple[str, ...] = (),
        pause: Pause = wait,
    ) -> None:
        self.reference = reference
        self.settings = settings
        self._pause = pause
        self._trust = settings.host(reference.domain)
        self._netloc = HUB_ENDPOINT if reference.domain == DOCKER_HUB else reference.domain
        self._transport = Transport(settings, environ)
        self.bucket = Bucket(settings.limit_rate)
        self._scope = " ".join((f"repository:{reference.path}:{rights}", *also)) if rights else ""
        self._base = ""
        self._base_lock = threading.Lock()
        self._auth = Authorizer(
            reference.domain,
            lambda: credentials.find(reference.domain, reference.path, self._trust, environ, settings.auth_file),
            self._follow,
            trust=self._trust,
        )

    def close(self) -> None:
        self._transport.close()

    def places(self) -> Iterator[tuple[str, Registry]]:
        """Each place to ask on its own, and the mirror's name; the registry itself is last, without a name."""
        yield "", self

    def patience(self) -> Patience:
        """A fresh count of tries, for one piece of work."""
        return Patience(self.settings, self._pause)

    def ping(self) -> None:
        """Whether it is a registry that lets us in. Errors: `Denied`, `Unavailable`, `Deadline`."""
        domain = self.reference.domain
        self.patience().call(domain, lambda: self.ask("GET", f"{self._find_base()}/v2/", {}).close())

    def manifest(self, locator: str) -> Fetched:
        """The manifest or index a tag or digest stands for, its digest verified.

        Errors: `NotFound`, `Denied`, `Unavailable`, `Deadline`, `Corrupt`.
        """
        return self.patience().call(self.reference.domain, lambda: self._manifest(locator))

    def digest(self, locator: str) -> str:
        """The digest a tag stands for now, by HEAD: cheap, and not counted as a pull by Docker Hub."""
        return self.patience().call(self.reference.domain, lambda: self._digest(locator))

    def document(self, digest: str, limit: int) -> bytes:
        """A small blob whole, its digest verified. Errors: as `manifest`; `Corrupt` also when longer than `limit`."""
        body = self.patience().call(self.reference.domain, lambda: self.blob(digest).body(limit))
        if (real := digest_of(body, digest)) != digest:
            raise self._mismatch("a blob", real, digest)
        return body

    def blob(self, digest: str, offset: int = 0) -> Answer:
        """One try to open a blob from byte `offset` on. Status 206: from there; 200: the server began at 0.

        Raises transport faults as they are, for the caller counts the tries over the whole blob.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return self.ask("GET", f"blobs/{digest}", headers)

    def distrust(self, digest: str) -> bool:
        """Whether a blob whose content was wrong may be right elsewhere. Behind mirrors it may."""
        del digest
        return False

    def forgives(self, digest: str) -> bool:
        """Whether a fault while a blob was read was that of another place before it, which is not asked again."""
        del digest
        return False

    def kept(self, digest: str, size: int, media_type: str = "") -> None:
        """The blob or document is here now, whole and verified."""
        del digest, size, media_type

    def _manifest(self, locator: str) -> Fetched:
        answer = self.ask("GET", f"manifests/{locator}", {"Accept": ACCEPT})
        claimed, media_type = answer.header("Docker-Content-Digest"), answer.header("Content-Type")
        etag = answer.header("ETag")
        body = answer.body(MAX_MANIFEST)
        expected = next((text for text in (locator, claimed) if is_digest(text)), "sha256:")
        digest = digest_of(body, expected)
        if is_digest(expected) and expected != digest:
            raise self._mismatch("the manifest", digest, expected)
        return Fetched(body, digest, media_type.partition(";")[0].strip(), etag if etag.startswith('"') else "")

    def _mismatch(self, what: str, real: str, expected: str) -> Corrupt:
        return Corrupt(
            f"{what} of {self.reference} does not match its digest: {real} instead of {expected}",
            hint="pull again; if it stays, the registry or a proxy alters content",
        )

    def _digest(self, locator: str) -> str:
        answer = self.ask("HEAD", f"manifests/{locator}", {"Accept": ACCEPT})
        answer.close()
        claimed = answer.header("Docker-Content-Digest")
        return claimed if is_digest(claimed) else self._manifest(locator).digest

    def ask(
        self,
        method: str,
        rest: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], Readable] | None = None,
        *,
        good: Collection[int] = (200, 206),
    ) -> Answer:
        """An answered request with a good status; a 401 is met with a login, twice at most.

        `rest` is below the repository, or a whole URL that the registry gave; one of another host gets no login.
        """
        base = self._find_base()
        url = rest if "://" in rest else f"{base}/v2/{self.reference.path}/{rest}"
        ours = urlsplit(url).netloc == urlsplit(base).netloc
        for last in (False, False, True):
            authorization = self._auth.header(self._scope) if ours else ""
            sent = {**headers, "Authorization": authorization} if authorization else headers
            answer = self._follow(Request(method, url, self._trust if ours else RegistryHost(), sent, body))
            if answer.status in good:
                return answer
            if answer.status != 401 or last or not ours:
                raise self._refusal(answer)
            answer.close()
            self._auth.renew(answer, self._scope, authorization, url=url)
        raise AssertionError("the last round returns or raises")

    def _find_base(self) -> str:
        """`https://host` or, where plain HTTP is allowed and TLS is not spoken, `http://host`. Found out once."""
        with self._base_lock:
            if self._base:
                return self._base
            secure = f"https://{self._netloc}"
            insecure = self._trust.insecure
            if insecure or (insecure is None and is_loopback(self._netloc)):
                try:
                    self._transport.send(Request("GET", f"{secure}/v2/", self._trust)).close()
                except (ssl.SSLCertVerificationError, ConnectionRefusedError):
                    if urlsplit(secure).port:
                        raise  # nobody else listens there: plain HTTP has no better chance
                    secure = f"http://{self._netloc}"
                except (ssl.SSLError, ConnectionError, TimeoutError):
                    secure = f"http://{self._netloc}"
            self._base = secure
            return secure

    def _follow(self, request: Request) -> Answer:
        """Send, and follow redirects. The login stays with the host it is for; HTTPS is never left for HTTP."""
        for _ in range(MAX_REDIRECTS):
            answer = self._transport.send(request)
            target = answer.header("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not target or request.method not in ("GET", "HEAD"):
                return answer
            answer.close()
            request = self._redirected(request, urljoin(request.url, target))
        raise NotFound(f"registry {self.reference.domain} redirects in circles", hint="ask the registry's operator")

    def _redirected(self, request: Request, url: str) -> Request:
        old, new = urlsplit(request.url), urlsplit(url)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
            raise Corrupt(
                f"registry {self.reference.domain} redirects to {new.scheme}://{new.netloc}, which is not HTTPS",
                hint="ask the registry's operator",
            )
        if (old.scheme, old.netloc) == (new.scheme, new.netloc):
            return Request(request.method, url, request.trust, request.headers)
        kept = {name: value for name, value in request.headers.items() if name != "Authorization"}
        same_host = host_of(old.netloc) == host_of(new.netloc)
        trust = self.settings.hosts.get(new.netloc) or (request.trust if same_host else RegistryHost())
        return Request(request.method, url, trust, kept)

    def _refusal(self, answer: Answer) -> ZlayerError:
        """The error an unwelcome status means."""
        status, wanted = answer.status, retry_after(answer.header("Retry-After"))
        code, detail = _explained(answer)
        domain = self.reference.domain
        if status in (401, 403):
            self._auth.look_up()
            return self._auth.denied(f"denies access to {self.reference.path}, or has no such repository", status)
        if status == 404:
            what = "has no repository" if code == "NAME_UNKNOWN" else "does not have"
            name = self.reference.path if code == "NAME_UNKNOWN" else self.reference.familiar
            hint = "check the name and the tag; a private repository may also show as missing without a login"
            return NotFound(f"registry {domain} {what} {name}{detail}", hint=hint)
        if status == 429:
            return Unavailable(
                f"registry {domain} limits the rate of requests{detail}",
                hint="log in for a higher limit, or wait", retry_after=wanted,
            )  # fmt: skip
        if status in RETRIED_STATUSES:
            hint = "the registry has trouble: try again later"
            return Unavailable(f"registry {domain} answered {status}{detail}", hint=hint, retry_after=wanted)
        if code or status in (400, 405, 413, 415, 416):
            return Failed(f"registry {domain} refuses it: {status}{detail}", hint="ask the registry's operator")
        return NotFound(f"registry {domain} answered {status}{detail}", hint="check that it is an OCI registry")


class Offline(Registry):
    """Refuses every request: for work over what is here already."""

    def ask(self, method: str, rest: str, *_: object, **__: object) -> Answer:
        raise Corrupt(f"{rest} is not in the archive", hint="export or save the image again")


def _explained(answer: Answer) -> tuple[str, str]:
    """First code and message of the registry's own error document, made fit for one line."""
    try:
        error = json.loads(answer.body(64 * 1024))["errors"][0]
        code, message = str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OSError, Corrupt):
        return "", ""
    text = "".join(c if c.isprintable() else " " for c in message)[:200]
    return code, f": {text}" if text else ""
