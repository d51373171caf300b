"""What S3 says: its XML documents, and what a refusal means for people. Pure."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as Xml

from zlayer.model.errors import Corrupt, Deadline, Denied, Failed, NotFound, Unavailable, ZlayerError

MAX_DOCUMENT = 4 * 1024 * 1024
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
HINTS: Mapping[str, str] = {
    "NoSuchBucket": "make the bucket, or mend its name below [image.s3] in config.toml",
    "InvalidAccessKeyId": "look at the access key the daemon has",
    "SignatureDoesNotMatch": "look at the secret key the daemon has, and at proxies that change requests",
    "ExpiredToken": "give the daemon new keys: these have expired",
    "InvalidToken": "give the daemon new keys",
    "RequestTimeTooSkewed": "set the clock of this machine right: timedatectl set-ntp true",
    "AuthorizationHeaderMalformed": "mend the region below [image.s3] in config.toml",
    "PermanentRedirect": "mend region or endpoint below [image.s3] in config.toml",
    "AccessDenied": "let the key get, put and list objects below the prefix, and abort multipart uploads",
}
_ABSENT = frozenset({"", "NoSuchKey", "NotFound", "AccessDenied"})


@dataclass(frozen=True, slots=True)
class Pending:
    """A multipart upload that somebody has begun and nobody has ended."""

    key: str
    upload: str
    initiated: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status S3 answered with, and the code and message of its document, if it had one."""

    status: int
    code: str
    message: str
    region: str = ""

    @property
    def absent(self) -> bool:
        """That there is no such object. Who may not list the bucket is told 403 of objects that are not there."""
        return self.code in _ABSENT if self.status == 404 else self.status == 403 and self.code in ("", "AccessDenied")

    def error(self, where: str) -> ZlayerError:
        said = ": ".join(filter(None, (self.code, self.message)))
        told = f"{where} answered {self.status}{f' ({said})' if said else ''}"
        hint = HINTS.get(self.code, "")
        if self.region:
            hint = f'its region is {self.region}: set region = "{self.region}" below [image.s3] in config.toml'
        if self.status in RETRIED:
            return Unavailable(told, hint="S3 has trouble: it is tried again later")
        if self.status in (401, 403):
            return Denied(told, hint=hint or HINTS["AccessDenied"])
        if self.status == 404:
            return NotFound(told, hint=hint or "look at the bucket's name and the endpoint")
        return Failed(told, hint=hint or "look at endpoint, region and path_style below [image.s3] in config.toml")


def refusal(status: int, body: bytes, region: str = "") -> Refusal:
    try:
        root = parse(body)
    except Corrupt:
        return Refusal(status, "", "", region)
    texts = {_name(one): one.text or "" for one in root}
    if not region and texts.get("Code") == "AuthorizationHeaderMalformed":
        region = texts.get("Region", "")
    return Refusal(status, _line(texts.get("Code", "")), _line(texts.get("Message", "")), _line(region))


def parse(body: bytes) -> Xml.Element:
    """A document without declarations of its own, which are where the traps of XML are. Errors: `Corrupt`."""
    try:
        said = body.decode()  # other encodings could hide declarations
        if "<!" in said:
            raise ValueError("it declares types or entities")
        return Xml.fromstring(said)  # noqa: S314  # without declarations there is nothing to expand
    except (ValueError, Xml.ParseError) as fault:
        raise Corrupt(f"S3 answered with a malformed document: {fault}", hint="look at the endpoint") from fault


def text(root: Xml.Element, name: str) -> str:
    """Of the first child of that name. Errors: `Corrupt` when there is none."""
    for child in root:
        if _name(child) == name and child.text:
            return child.text
    raise Corrupt(f"S3 answered with a document without {name}", hint="look at the endpoint")


def is_error(root: Xml.Element) -> bool:
    return _name(root) == "Error"


def pending(root: Xml.Element) -> Iterator[Pending]:
    """Of a ListMultipartUploadsResult."""
    for child in root:
        if _name(child) != "Upload":
            continue
        begun = text(child, "Initiated").replace("Z", "+00:00")
        try:
            yield Pending(text(child, "Key"), text(child, "UploadId"), datetime.fromisoformat(begun).timestamp())
        except ValueError as fault:
            raise Corrupt(f"S3 answered with a malformed time: {begun!r}", hint="look at the endpoint") from fault


def completion(etags: Sequence[tuple[int, str]]) -> bytes:
    """A CompleteMultipartUpload document: numbers and ETags of the parts in order."""
    root = Xml.Element("CompleteMultipartUpload", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
    for number, etag in etags:
        part = Xml.SubElement(root, "Part")
        Xml.SubElement(part, "PartNumber").text = str(number)
        Xml.SubElement(part, "ETag").text = etag
    return Xml.tostring(root)


def translate(fault: OSError | http.client.HTTPException, where: str) -> ZlayerError:
    """A transport's fault as people should read it."""
    table = "below [image.s3] in config.toml"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the certificate of {where} is not trusted: {fault.verify_message}",
            hint=f'set ca = "PATH" (or insecure = true, at your own risk) {table}',
        )
    if isinstance(fault, ssl.SSLError):
        reason = getattr(fault, "reason", None) or fault
        return Unavailable(f"{where} does not speak TLS as expected: {reason}", hint=f"look at the endpoint {table}")
    if isinstance(fault, TimeoutError):
        return Deadline(f"{where} stalled", hint=f"look at it and the network, or raise stall_timeout {table}")
    if isinstance(fault, socket.gaierror):
        return Unavailable(f"{where} has no address: {fault.strerror}", hint=f"look at endpoint and path_style {table}")
    if isinstance(fault, http.client.IncompleteRead):
        return Unavailable(f"{where} broke off its answer", hint="look at it, and at proxies on the way to it")
    said = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return Unavailable(f"{where} cannot be reached: {said}", hint=f"look at it, the network, and the endpoint {table}")


def _name(element: Xml.Element) -> str:
    return element.tag.rpartition("}")[2]


def _line(said: str) -> str:
    return "".join(c if c.isprintable() else " " for c in said)[:200]
