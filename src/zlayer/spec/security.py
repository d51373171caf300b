"""`security_opt`, `pid_mode` and `ipc_mode`: how far a container is kept apart."""

from __future__ import annotations

from dataclasses import dataclass

from zlayer.spec.nodes import Node, Scalar, Table, kind, shorten
from zlayer.spec.report import At, refused
from zlayer.spec.shapes import Json, described

_OPTIONS = ("no-new-privileges", "seccomp=unconfined", "seccomp=default")
_LATER = ("apparmor", "label", "systempaths", "credentialspec", "mask", "unmask", "proc-opts")


def check_security(text: str) -> str:
    """`no-new-privileges:true|false` or `seccomp=default|unconfined`; `:` and `=` are one."""
    name, _, value = text.replace("=", ":", 1).partition(":")
    if name == "no-new-privileges" and value in {"", "true", "false"}:
        return f"{name}:{value or 'true'}"
    if name == "seccomp" and value in {"unconfined", "default"}:
        return f"{name}={value}"
    if name in _LATER or (name == "seccomp" and value):
        raise refused(f"not supported yet: security_opt {shorten(text)}", kind="Unsupported")
    near = "seccomp=default" if name == "seccomp" else ""
    if not near and name.startswith(("no-new", "no_new")):
        near = "no-new-privileges:true"
    message = f"unknown security option {shorten(text)!r}; expected {', '.join(_OPTIONS)}"
    raise refused(message, suggestion=near)


@dataclass(frozen=True, slots=True)
class Mode:
    """A word, or a word with a payload (later): `container:ID`, `{container: {id: ID}}`, `!container ID`."""

    about: str
    words: dict[str, str]
    """Accepted word -> its normal form."""
    payloads: tuple[str, ...]

    def read(self, node: Node, at: At) -> str | None:
        tag = node.tag.removeprefix("!")
        if tag:
            self._payload(tag, node, at)
        elif isinstance(node, Table) and len(node.entries) == 1:
            name = next(iter(node.entries))
            self._payload(name, node, at)
        elif not isinstance(node, Scalar) or not isinstance(node.value, str):
            at.refuse(node, f"expected one of {', '.join(self.words)}, not {kind(node)}", kind="WrongType")
        elif node.text in self.words:
            return self.words[node.text]
        else:
            name, colon, _ = node.text.partition(":")
            if (colon or node.text not in self.words) and name in self.payloads:
                self._payload(name, node, at)
            else:
                self._unknown(node.text, node, at)
        return None

    def _payload(self, name: str, node: Node, at: At) -> None:
        if name in self.payloads:
            at.not_yet(node, f"{at.key}: {name}")
        else:
            self._unknown(name, node, at)

    def _unknown(self, name: str, node: Node, at: At) -> None:
        at.unknown(node, at.key, name, dict.fromkeys((*self.words, *self.payloads)))

    def schema(self) -> Json:
        return described({"type": "string", "enum": list(self.words)}, self.about)


PID_MODE = Mode("`host` shows the machine's processes.", {"host": "host"}, ("container", "service"))
IPC_MODE = Mode("`private` (default) or `host`.", {"host": "host", "private": "private"}, ("container", "shareable"))
