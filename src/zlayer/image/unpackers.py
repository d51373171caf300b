"""Layers unpacked in processes of their own: inflating and reading headers then use as many cores as there are layers.

A nursery is forked before the pull has threads, and loads what unpacks while the pull loads what fetches; it forks a
process for each layer. That one reads the partial, which the pull still writes, by the descriptor it was sent, and
ends with its answer.

    pull --socket--> nursery --fork--> process: "." more has come, "E" all has;   its pidfd, then one JSON line back

Whoever loses its parent is killed by the kernel (PR_SET_PDEATHSIG, prctl(2)), so none outlives the pull.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zlayer.image.marks import Marks
from zlayer.image.unpack import Arriving, Unpacked, unpacked
from zlayer.model.errors import Failed, ZlayerError, from_document

if TYPE_CHECKING:
    from zlayer.image.blobs import Partial

_PR_SET_PDEATHSIG = 1
_CHUNK = 256 * 1024
_ENOUGH = 2 << 20
"""Bytes between two words to a process that waits: woken for each piece it takes the processor from the download."""
_LOOK = 100
"""Milliseconds between two looks at how far a process has come."""
_TOOLS = ("zlayer.image.extract", "zlayer.image.inflate", "zlayer.image.layer_seal")
_MORE, _END = b".", b"E"


def can_start() -> bool:
    """Processes are told of and ended by pidfd (Linux 5.3)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Unpackers:
    """An `Unpack` for several threads at once. Make it while the process has one thread."""

    def __init__(self) -> None:
        self._nursery, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        if os.fork() == 0:
            _forever(_nurse, theirs, parent)
        theirs.close()

    def close(self) -> None:
        """The nursery ends with its socket."""
        self._nursery.close()

    def __call__(
        self, partial: Partial, arriving: Arriving | None, target: Path, unpacked_so_far: Callable[[int], None], /
    ) -> Unpacked:
        job = _Job(self._nursery, partial.descriptor, target)
        try:
            if arriving is not None:
                buffer = memoryview(bytearray(_CHUNK))
                told = 0
                while count := arriving.readinto(buffer):
                    told += count
                    if told >= _ENOUGH:
                        told = 0
                        if not job.tell(_MORE):
                            break
            job.tell(_END)
            return job.outcome(unpacked_so_far)
        finally:
            job.end()


class _Job:
    """One process at work, from the pull's side."""

    def __init__(self, nursery: socket.socket, descriptor: int, target: Path) -> None:
        self._descriptor = descriptor
        self._control, theirs = socket.socketpair()
        self._pidfd = -1
        try:
            os.lseek(descriptor, 0, os.SEEK_SET)
            with theirs, suppress(BrokenPipeError):
                socket.send_fds(nursery, [os.fsencode(target)], [descriptor, theirs.fileno()])
            with suppress(ConnectionResetError):
                _, fds, _, _ = socket.recv_fds(self._control, 1, 1)
                self._pidfd = fds[0] if fds else -1
        except BaseException:
            self._control.close()
            raise

    def tell(self, word: bytes) -> bool:
        """False when the process has ended. Of words for more, one that waits unread is enough."""
        try:
            self._control.send(word, socket.MSG_DONTWAIT if word == _MORE else 0)
        except BlockingIOError:
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def outcome(self, unpacked_so_far: Callable[[int], None]) -> Unpacked:
        said = bytearray()
        ready = select.poll()
        ready.register(self._control, select.POLLIN)
        while True:
            if not ready.poll(_LOOK):
                unpacked_so_far(os.lseek(self._descriptor, 0, os.SEEK_CUR))
                continue
            piece = self._receive()
            if not piece:
                break
            said += piece
        if not said.endswith(b"\n"):
            raise Failed(
                "the process that unpacked a layer ended before it was done",
                hint="pull again. If it happens again, look for the OOM killer in dmesg",
            )
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise from_document(answer["error"])
        return Unpacked(answer["diff_id"], answer["seal"], Marks.read(answer["marks"]))

    def end(self) -> None:
        """When this returns the process is gone, and writes nothing any more."""
        if self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.close(self._pidfd)
        while self._receive():  # its end of the socket is closed by the kernel, after its last system call
            pass
        self._control.close()

    def _receive(self) -> bytes:
        try:
            return self._control.recv(65536)
        except ConnectionResetError:  # it ended with words of ours unread
            return b""


def _forever(serve: Callable[..., None], *given: object) -> NoReturn:
    """The life of a forked process: never back into the code of the one that forked it."""
    code = 1
    try:
        serve(*given)
        code = 0
    except BaseException:  # noqa: BLE001  # told on stderr, as the worker's own faults are
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was gone before that was asked for
        os._exit(1)


def _nurse(orders: socket.socket, parent: int) -> None:
    _die_with(parent)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.closerange(3, orders.fileno())
    os.closerange(orders.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps them
    for module in _TOOLS:
        importlib.import_module(module)
    gc.freeze()  # what is here for good is not looked through again by each process, nor copied by the look
    nursery = os.getpid()
    while True:
        message, fds, _, _ = socket.recv_fds(orders, 8192, 2)
        if not message:
            return
        if os.fork() == 0:
            orders.close()
            _forever(_serve, os.fsdecode(message), *fds, nursery)
        for fd in fds:
            os.close(fd)


def _serve(target: str, descriptor: int, control_fd: int, nursery: int) -> None:
    _die_with(nursery)
    control = socket.socket(fileno=control_fd)
    own = os.pidfd_open(os.getpid())
    socket.send_fds(control, [b"P"], [own])
    try:
        done = unpacked(_Growing(descriptor, control), Path(target))
        answer = {"diff_id": done.diff_id, "seal": done.seal, "marks": done.marks.document()}
    except ZlayerError as error:
        answer = {"error": error.document()}
    control.sendall(json.dumps(answer).encode() + b"\n")


class _Growing:
    """The partial from its start; at its end, for now, a word of the pull is waited for."""

    def __init__(self, descriptor: int, control: socket.socket) -> None:
        self._descriptor, self._control = descriptor, control
        self._whole = False

    def readinto(self, buffer: memoryview, /) -> int:
        while not (count := os.readv(self._descriptor, [buffer])):
            if self._whole:
                return 0
            words = self._control.recv(65536)
            if not words:
                os._exit(1)  # the pull has gone
            self._whole = _END in words
        return count
