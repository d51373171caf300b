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
from zlayer.model.errors import Conflict, NotFound
from zlayer.model.instance import InstanceStatus
from zlayer.runtime.contract import Session

CLEAN_UP = 5.0
"""Seconds the removal of an abandoned instance may take to become durable."""


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
