"""The `Acme` contract over the `acme` library: it signs, keeps nonces and reads keys; orders are read here.

The library's own order flow polls with sleeps and holds its state in objects. Ours is kept in the store and resumed
by URL, so only the library's `ClientNetwork` (signed requests) and its challenge arithmetic are used.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import requests
from acme import challenges, client, messages
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from josepy.json_util import JSONObjectWithFields
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from zlayer import __version__
from zlayer.model.certificate import AcmeSettings
from zlayer.model.errors import Failed
from zlayer.model.secret import Secret
from zlayer.proxy.acme.refusals import Reply, read_retry_after, translated
from zlayer.proxy.certs.contract import Authorization, Challenge, Identity, OrderState

T = TypeVar("T")
TIMEOUT = 30
"""Seconds for each answer of the CA."""
NONCE_TRIES = 8
"""A CA may refuse a nonce it gave; RFC 8555, 6.5 says to try again with the one that came with the refusal."""
Json = dict[str, Any]  # Any: what a CA sends, read field by field


class LibraryAcme:
    """Thread-safe by a limiter of one: a CA is asked one thing at a time, and short things only."""

    def __init__(self, settings: AcmeSettings) -> None:
        self._settings = settings
        self._limiter: anyio.CapacityLimiter | None = None
        self._directory: messages.Directory | None = None
        self._networks: dict[Identity, client.ClientNetwork] = {}
        self._lock = threading.Lock()

    async def register(self, key: Secret) -> str:
        return await self._call(lambda reply: self._register(Identity(key), reply))

    async def order(self, identity: Identity, names: Sequence[str]) -> OrderState:
        def place(reply: Reply) -> OrderState:
            wanted = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=name) for name in names]
            found = self._post(
                identity, self._url("newOrder", identity, reply), messages.NewOrder(identifiers=wanted), reply
            )
            return _order(found, found.headers.get("Location", ""))

        return await self._call(place)

    async def look(self, identity: Identity, url: str) -> OrderState:
        return await self._call(lambda reply: _order(self._post(identity, url, None, reply), url))

    async def authorizations(self, identity: Identity, order: OrderState) -> tuple[Authorization, ...]:
        key = _jwk(identity.key)

        def each(reply: Reply) -> tuple[Authorization, ...]:
            return tuple(
                _authorization(self._post(identity, url, None, reply).json(), key) for url in order.authorizations
            )

        return await self._call(each)

    async def answer(self, identity: Identity, challenge: Challenge) -> None:
        await self._call(lambda reply: self._post(identity, challenge.url, _Empty(), reply))

    async def finalise(self, identity: Identity, order: OrderState, request: bytes) -> OrderState:
        body = messages.CertificateRequest(csr=x509.load_der_x509_csr(request))
        return await self._call(lambda reply: _order(self._post(identity, order.finalize, body, reply), order.url))

    async def download(self, identity: Identity, order: OrderState) -> str:
        def fetch(reply: Reply) -> str:
            found = self._post(identity, order.certificate, None, reply)
            return self._preferred(identity, found, reply)

        return await self._call(fetch)

    def _preferred(self, identity: Identity, found: requests.Response, reply: Reply) -> str:
        """The chain whose last certificate was issued by the preferred name, else the CA's own choice."""
        first, wanted = found.text, self._settings.preferred_chain
        if not wanted or _topmost(first) == wanted:
            return first
        links = requests.utils.parse_header_links(found.headers.get("Link", ""))
        for link in links:
            if link.get("rel") == "alternate" and "url" in link:
                other: str = self._post(identity, link["url"], None, reply).text
                if _topmost(other) == wanted:
                    return other
        return first

    async def _call(self, work: Callable[[Reply], T]) -> T:
        """`work` in a thread, its errors ours. A cancelled caller does not wait for a CA that is silent."""
        self._limiter = self._limiter or anyio.CapacityLimiter(1)

        def guarded() -> T:
            reply = Reply(self._settings.directory)
            with translated(reply), self._lock:
                done = False
                try:
                    made = work(reply)
                    done = True
                    return made
                finally:
                    if not done:
                        self._directory = None

        return await anyio.to_thread.run_sync(guarded, limiter=self._limiter, abandon_on_cancel=True)

    def _register(self, identity: Identity, reply: Reply) -> str:
        settings, directory, key = self._settings, self._known(identity, reply), _jwk(identity.key)
        binding = None
        if settings.eab_kid:
            binding = messages.ExternalAccountBinding.from_data(
                key.public_key(), settings.eab_kid, settings.eab_key.reveal(), directory, "HS256"
            )
        wanted = messages.NewRegistration.from_data(
            email=settings.email, terms_of_service_agreed=True, external_account_binding=binding
        )
        found = self._post(identity, str(directory["newAccount"]), wanted, reply)
        url = found.headers.get("Location", "")
        if not url:
            raise Failed(f"{settings.directory} gave the account no URL", hint="is it an ACME directory?")
        return str(url)

    def _network(self, identity: Identity) -> client.ClientNetwork:
        if identity not in self._networks:
            self._networks.clear()  # one account is in use at a time; a replaced one must not pile up
            network = client.ClientNetwork(
                key=_jwk(identity.key),
                alg=ES256,
                # The library says bool and hands it to requests, which takes the path of a PEM file too.
                verify_ssl=str(self._settings.ca_file) if self._settings.ca_file else True,  # type: ignore[arg-type]
                user_agent=f"zlayer/{__version__}",
                timeout=TIMEOUT,
            )
            if identity.url:
                network.account = messages.RegistrationResource(body=messages.Registration(), uri=identity.url)
            self._networks[identity] = network
        return self._networks[identity]

    def _known(self, identity: Identity, reply: Reply) -> messages.Directory:
        """The CA's own list of URLs, asked for once and again after every failure."""
        if self._directory is None:
            network = self._network(identity)
            network.session.hooks["response"] = [reply.note]
            self._directory = messages.Directory.from_json(network.get(self._settings.directory).json())
        return self._directory

    def _url(self, name: str, identity: Identity, reply: Reply) -> str:
        return str(self._known(identity, reply)[name])

    def _post(self, identity: Identity, url: str, body: Any, reply: Reply) -> requests.Response:
        """Any: each of the library's message types. None asks for a resource (POST-as-GET)."""
        nonces = self._url("newNonce", identity, reply)
        network = self._network(identity)
        network.session.hooks["response"] = [reply.note]
        for attempt in range(NONCE_TRIES):
            try:
                return network.post(url, body, new_nonce_url=nonces)
            except messages.Error as error:
                if error.code != "badNonce" or attempt == NONCE_TRIES - 1:
                    raise
        raise AssertionError("unreachable")


class _Empty(JSONObjectWithFields):
    """`{}`: what a challenge is answered with (RFC 8555, 7.5.1)."""

    def __bool__(self) -> bool:
        """The library signs an empty text for what is false, and a mapping without fields is: that answers nothing."""
        return True


def _jwk(key: Secret) -> JWKEC:
    loaded = serialization.load_pem_private_key(key.reveal().encode(), password=None)
    return JWKEC(key=loaded)


def _order(response: requests.Response, url: str) -> OrderState:
    document: Json = response.json()
    return OrderState(
        url=url,
        status=str(document["status"]),
        authorizations=tuple(str(one) for one in document["authorizations"]),
        finalize=str(document["finalize"]),
        certificate=str(document.get("certificate") or ""),
        error=_words(document.get("error")),
        retry_after=read_retry_after(response.headers),
    )


def _authorization(document: Json, key: JWKEC) -> Authorization:
    found: list[Json] = document["challenges"]
    return Authorization(
        name=str(document["identifier"]["value"]),
        wildcard=bool(document.get("wildcard", False)),
        status=str(document["status"]),
        challenges=tuple(_challenge(one, key) for one in found if one.get("token")),
        error="; ".join(words for one in found if (words := _words(one.get("error")))),
    )


def _challenge(document: Json, key: JWKEC) -> Challenge:
    kind = str(document["type"])
    answer = ""
    if kind in ("http-01", "dns-01", "tls-alpn-01"):
        # The library knows no tls-alpn-01, whose answer is http-01's: the key authorisation (RFC 8737, 3).
        known = "http-01" if kind == "tls-alpn-01" else kind
        body = challenges.Challenge.from_json({"type": known, "token": document["token"]})
        assert isinstance(body, challenges.HTTP01 | challenges.DNS01)
        answer = str(body.validation(key))
    return Challenge(kind, str(document["url"]), str(document["token"]), str(document["status"]), answer)


def _words(problem: Any) -> str:
    """Any: a problem document (RFC 7807) or nothing."""
    if not isinstance(problem, dict):
        return ""
    return str(problem.get("detail") or problem.get("type") or "refused without a reason")


def _topmost(chain: str) -> str:
    """Common name of the issuer of a chain's last certificate."""
    last = x509.load_pem_x509_certificates(chain.encode())[-1]
    names = last.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
