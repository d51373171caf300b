from __future__ import annotations

import pytest

from zlayer.api.bodies import ExecBody, ExecStart, RunBody, RunMount
from zlayer.api.execute import MAX_OUTPUT, collect, exec_request
from zlayer.model.container import BindMount, TmpfsMount, VolumeMount
from zlayer.testing.fake_session import FakeSession


@pytest.mark.anyio
async def test_output_past_the_limit_is_dropped_and_told_and_the_code_still_comes() -> None:
    async def code() -> int:
        return 3

    session = FakeSession(echo=False, exit_code=code)
    for _ in range(3):
        session.feed("stdout", b"x" * (MAX_OUTPUT // 2))
    session.feed("stderr", b"late")
    session.finish()
    told = await collect(session)
    assert len(str(told["stdout"])) == MAX_OUTPUT
    assert (told["stderr"], told["truncated"], told["exit_code"]) == ("", True, 3)


def test_a_plain_exec_has_neither_tty_nor_stdin() -> None:
    plain = exec_request(ExecBody(command=("id",)))
    assert (plain.tty, plain.stdin) == (False, False)
    live = exec_request(ExecStart(command=("sh",), tty=True, stdin=True, rows=2, columns=3))
    assert (live.tty, live.stdin, live.argv) == (True, True, ("sh",))


def test_mounts_are_what_their_source_says() -> None:
    assert RunMount(source="/srv", target="/x", readonly=True).mount() == BindMount(
        source="/srv", target="/x", readonly=True
    )
    assert RunMount(source="data", target="/x").mount() == VolumeMount(name="data", target="/x")
    assert RunMount(target="/x").mount() == VolumeMount(name=None, target="/x")
    assert RunMount(target="/x", type="tmpfs").mount() == TmpfsMount(target="/x")


def test_no_command_keeps_the_images() -> None:
    assert RunBody(image="x").container().args is None
    assert RunBody(image="x", command=("a",)).container().args == ("a",)
    assert RunBody(image="x", pull="always").container().pull_policy == "if_not_present"  # pulled already
