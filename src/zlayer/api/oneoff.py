"""One-off instances: pull, create, carry the output, tell the end, and leave nothing when asked to."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import anyio

from zlayer.api.bodies import RunBody
from zlayer.api.pulls import pull
from zlayer.api.services import Services
from zlayer.api.streams import Emit
from zlayer.image.contract import Progress
from zlayer.model.errors import Conflict, Invalid, NotFound, Problem
from zlayer.model.instance import InstanceStatus
from zlayer.runtime.contract import Session

CLEAN_UP = 5.0
"""Seconds the removal of an abandoned instance may take to become durable."""


def check(body: RunBody, *, live: bool) -> None:
    """What no schema can say. Raises `Invalid` with every fault."""
    problems = []
    if not live and (body.tty or body.stdin):
        problems.append(Problem("stdin and tty need the WebSocket", path="tty" if body.tty else "stdin"))
    if live and body.detach:
        problems.append(Problem("a detached run has no use for a WebSocket: POST it", path="detach"))
    for number, mount in enumerate(body.mounts):
        path = f"mounts.{number}"
        if not mount.target.startswith("/"):
            problems.append(Problem(f"{mount.target!r} is no absolute path", path=f"{path}.target"))
        if mount.type == "bind" and not (mount.source or "").startswith("/"):
            problems.append(Problem("a bind needs an absolute source", path=f"{path}.source"))
    if problems:
        raise Invalid("; ".join(str(problem) for problem in problems), problems=tuple(problems))


@dataclass(slots=True)
class OneOff:
    """One `run`, step by step; `tell` gets each event as it happens.

    An async context manager. Left before the instance has ended, it removes one that was to be removed (`rm`), but
    not when it is the daemon that stops; one that never started goes in any case. Others go on without us.
    """

    api: Services
    body: RunBody
    tell: Emit
    id: str = ""
    _attached: bool = False
    _over: bool = False

    async def __aenter__(self) -> OneOff:
        return self

    async def __aexit__(self, *exc: object) -> None:
        abandoned = bool(self.id) and not self._over
        unwanted = not self._attached or (self.body.rm and not self.api.stopping.is_set())
        if not (abandoned and unwanted):
            return
        with anyio.move_on_after(CLEAN_UP, shield=True):
            try:
                await self.api.wishes.remove_instance(self.id)
            except NotFound:  # it ended and was taken apart at the same moment
                return

    async def create(self) -> None:
        """Pull first, so that a bad reference is told before anything exists; then make the wish durable."""
        body = self.body
        await pull(self.api.agent.images, body.image, policy=body.pull, platform=body.platform, tell=self._tell_blob)
        with anyio.CancelScope(shield=True):  # once it is in the store, we must know its id
            instance = await self.api.wishes.run_once(
                body.container(), name=body.name, remove_on_exit=body.rm, await_attach=not body.detach
            )
            self.id = instance.id
        await self.tell({"event": "created", "id": self.id})

    async def attach(self) -> Session | None:
        """Its stdio; it starts now. None when it ended before it could start: `ended` says why."""
        try:
            session = await self.api.agent.attach(self.id)
        except (Conflict, NotFound):
            return None
        self._attached = True
        return session

    async def started(self) -> None:
        """For a detached run: returns once it runs, or tells at once that it could not start."""
        self._attached = True
        status = await self.api.views.wait_instance(self.id, "running")
        self._over = True
        if status is not None and status.state.ended:
            await self.tell(exited(status, status.exit_code))

    async def ended(self, code: int | None) -> int | None:
        """Tell how it ended; its exit code. `code` is what the session saw, for a record that is gone already."""
        status = await self.api.views.wait_instance(self.id, "ended")
        self._over = True
        final = status.exit_code if status is not None and status.exit_code is not None else code
        await self.tell(exited(status, final))
        return final

    async def removed(self) -> None:
        """With `rm`: tell once nothing of it is left."""
        if self.body.rm:
            await self.api.views.wait_instance(self.id, "gone")
            await self.tell({"event": "removed", "id": self.id})

    async def _tell_blob(self, progress: Progress) -> None:
        await self.tell({"event": "pulling", **blob(progress)})


async def stream(api: Services, body: RunBody, emit: Emit) -> None:
    """A whole run without stdin: pulling, created, output, exited, removed."""
    async with OneOff(api, body, emit) as one:
        await one.create()
        if body.detach:
            await one.started()
            return
        code: int | None = None
        session = await one.attach()
        if session is not None:
            async with session:
                async for name, chunk in session.output():
                    data = b64encode(chunk).decode("ascii")
                    await emit({"event": "output", "stream": name, "data": data})
                code = await session.wait()
        await one.ended(code)
        await one.removed()


def blob(progress: Progress) -> dict[str, Any]:  # Any: a JSON object
    return {
        "digest": progress.digest,
        "phase": progress.phase,
        "done": progress.done,
        "total": progress.total,
    }


def exited(status: InstanceStatus | None, code: int | None) -> dict[str, Any]:
    oom, reason = (status.oom, status.reason) if status is not None else (False, "")
    return {"event": "exited", "code": code, "oom": oom, "reason": reason}
