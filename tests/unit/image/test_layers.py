"""The layer store: whole or not at all, whoever is first, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from zlayer.image.layers import LayerStore
from zlayer.model.errors import Failed, Invalid

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers")


def put(store: LayerStore, diff_id: str, text: str = "x") -> Path:
    temporary = store.begin()
    (temporary / "file").write_text(text)
    return store.commit(temporary, diff_id)


def test_a_committed_layer_is_there(store: LayerStore) -> None:
    assert not store.has(ONE)
    assert list(store.list()) == []
    assert put(store, ONE) == store.path(ONE) == store.root / ("1" * 64) / "diff"
    assert store.has(ONE)
    assert list(store.list()) == [ONE]
    assert (store.path(ONE) / "file").read_text() == "x"


def test_the_first_commit_stays(store: LayerStore) -> None:
    put(store, ONE, "first")
    put(store, ONE, "second")
    assert (store.path(ONE) / "file").read_text() == "first"
    assert [path.name for path in store.root.iterdir()] == ["1" * 64]


def test_an_empty_layer_is_a_layer(store: LayerStore) -> None:
    store.commit(store.begin(), ONE)
    store.commit(store.begin(), ONE)
    assert store.has(ONE)


def test_discard_and_remove_are_idempotent(store: LayerStore) -> None:
    temporary = store.begin()
    (temporary / "a").mkdir()
    for _ in range(2):
        store.discard(temporary)
        store.remove(ONE)
    put(store, ONE)
    store.remove(ONE)
    assert not store.has(ONE)
    assert list(store.root.iterdir()) == []


def test_a_vanished_temporary_is_told(store: LayerStore) -> None:
    temporary = store.begin()
    store.discard(temporary)
    with pytest.raises(Failed, match="vanished"):
        store.commit(temporary, ONE)


@pytest.mark.parametrize("diff_id", ["", "1" * 64, "sha256:" + "1" * 63, "sha256:../../etc", "sha256:" + "A" * 64])
def test_what_is_no_diff_id_reaches_no_path(store: LayerStore, diff_id: str) -> None:
    for call in (store.path, store.has, store.remove):
        with pytest.raises(Invalid, match="diff id"):
            call(diff_id)


def test_commits_and_removals_at_once_never_leave_half(store: LayerStore) -> None:
    store = LayerStore(store.root, sync=False)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(30):
                if number % 3 == 0:
                    store.remove(ONE)
                else:
                    put(store, ONE, str(number))
        except BaseException as error:  # noqa: BLE001 - carried out of the thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    put(store, ONE)
    assert [path.name for path in store.root.iterdir()] == ["1" * 64]
    assert (store.path(ONE) / "file").exists()


def test_sweep_takes_what_the_dead_left_and_nothing_else(store: LayerStore) -> None:
    put(store, ONE)
    mine = store.begin()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for purpose in ("tmp", "trash"):
        (store.root / f".{purpose}-{dead.pid}-abc123/deep").mkdir(parents=True)
    (store.root / ("2" * 64)).mkdir()
    (store.root / "notes").mkdir()
    assert store.sweep() == 3
    assert {path.name for path in store.root.iterdir()} == {"1" * 64, mine.name, "notes"}
    assert store.sweep() == 0
    assert LayerStore(store.root / "never").sweep() == 0


_EXTRACT_FOREVER = """
import sys, pathlib
from zlayer.image.extract import extract_layer
from zlayer.image.layers import LayerStore
from zlayer.testing.hostile_tars import member
class Endless:
    number = 0
    def read(self, size):
        self.number += 1
        if self.number == 200:
            print("deep in it", flush=True)
        return member(b"d%d/f" % self.number, b"x" * 5000)
extract_layer(Endless(), LayerStore(pathlib.Path(sys.argv[1])).begin())
"""


def test_killed_in_the_middle_of_a_layer_then_swept(store: LayerStore) -> None:
    worker = subprocess.Popen([sys.executable, "-c", _EXTRACT_FOREVER, str(store.root)], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"deep in it\n"
    (left,) = store.root.iterdir()
    assert store.sweep() == 0, "the worker lives: its directory stays"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    assert any(left.iterdir())
    assert list(store.list()) == []
    assert store.sweep() == 1
    assert list(store.root.iterdir()) == []
