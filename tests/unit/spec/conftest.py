"""Valid deployments, drawn at random: JSON documents that `load` must accept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

Doc = dict[str, Any]

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc"]), max_size=12).filter(
    lambda text: not text.startswith("$")
)
DURATIONS = st.sampled_from(["0", "500ms", "10s", "5m", "1h 30m", "2days", "1.5s", "1week"])
SIZES = st.sampled_from(["512Mi", "1.5Gi", "1000000", "64m", "2gb", 4096, "3Ki"])
FLAGS = st.booleans()
IMAGES = st.sampled_from(["nginx", "nginx:1.27", "localhost:5000/a/b:c", f"r.example.org/x@sha256:{'a' * 64}"])


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Doc]:
    return st.fixed_dictionaries({}, optional=fields)


def tagged(required: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Doc]:
    fixed = {k: v if isinstance(v, st.SearchStrategy) else st.just(v) for k, v in required.items()}
    return st.fixed_dictionaries(fixed, optional=optional)


CHECKS = st.one_of(
    tagged({"type": "tcp", "port": st.integers(1, 65535)}, interval=st.just("7s")),
    tagged({"type": "http", "port": st.integers(1, 65535)}, path=st.sampled_from(["/", "/a?b=c"]), interval=DURATIONS),
    tagged({"type": "http", "url": "http://localhost:80/x"}, expect_status=st.integers(100, 599)),
    tagged({"type": "command", "command": TEXT.filter(str.strip)}),
)
SCALES = st.one_of(
    tagged({"mode": "fixed", "replicas": st.integers(0, 50)}),
    tagged({"mode": "adaptive"}, min=st.integers(0, 5), max=st.integers(5, 20), cooldown=DURATIONS),
    tagged({"mode": "manual"}),
)


def mounts(targets: list[str]) -> st.SearchStrategy[list[Doc]]:
    def one(target: str) -> st.SearchStrategy[Doc]:
        return st.one_of(
            tagged({"type": "bind", "source": st.sampled_from(["/srv", "./data"]), "target": target}, readonly=FLAGS),
            tagged({"type": "named", "name": NAMES, "target": target}, readonly=FLAGS, tier=st.just("local")),
            tagged({"type": "anonymous", "target": target}),
            tagged({"type": "tmpfs", "target": target}, size=SIZES, mode=st.integers(0, 0o7777)),
        )

    return st.tuples(*(one(target) for target in targets)).map(list)


def endpoints(ports: list[int]) -> list[Doc]:
    protocols = ("http", "tcp", "udp", "websocket")
    return [{"name": f"e{port}", "protocol": protocols[port % 4], "port": port} for port in ports]


SERVICES = tagged(
    {"image": tagged({"name": IMAGES}, pull_policy=st.sampled_from(["always", "newer", "never", "if_not_present"]))},
    rtype=st.just("service"),
    command=maybe(entrypoint=st.lists(TEXT, max_size=3), args=st.lists(TEXT, max_size=3), workdir=st.just("/app")),
    env=st.dictionaries(NAMES, st.one_of(TEXT, st.integers(), FLAGS, st.just("$E:HOME")), max_size=4),
    resources=maybe(
        cpu=st.sampled_from([0.5, 2, "1.0", "0.25"]),
        memory=SIZES,
        pids_limit=st.sampled_from([1, 100, -1]),
        cpuset=st.sampled_from(["0", "0-1,3"]),
        oom_score_adj=st.integers(-1000, 1000),
        oom_kill_disable=FLAGS,
    ),
    endpoints=st.lists(st.integers(1, 65535), max_size=3, unique=True).map(endpoints),
    scale=SCALES,
    health=maybe(start_grace=DURATIONS, timeout=DURATIONS, retries=st.integers(1, 9)).flatmap(
        lambda health: CHECKS.map(lambda check: {**health, "check": check})
    ),
    storage=st.lists(st.sampled_from(["/a", "/b/c", "/d/"]), unique=True, max_size=3).flatmap(mounts),
    devices=st.lists(tagged({"path": "/dev/fuse"}, write=FLAGS, mknod=FLAGS), max_size=2),
    cap_add=st.lists(st.sampled_from(["NET_ADMIN", "cap_sys_time"]), max_size=2),
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    user=st.sampled_from(["root", 1000, "1000:1000"]),
    ulimits=st.dictionaries(st.sampled_from(["nofile", "core"]), st.just({"soft": 5, "hard": -1})),
    security_opt=st.lists(st.sampled_from(["no-new-privileges", "seccomp=unconfined"]), unique=True),
    ipc_mode=st.sampled_from(["host", "private"]),
    stop_signal=st.sampled_from(["TERM", "SIGINT", 9, "SIGRTMIN+3"]),
    stop_grace_period=DURATIONS,
    restart_policy=tagged({"kind": st.sampled_from(["no", "always", "on_failure"])}, max_attempts=st.integers(0, 5)),
    privileged=FLAGS,
    tty=FLAGS,
)


@pytest.fixture(scope="session")
def documents() -> st.SearchStrategy[Doc]:
    return st.builds(
        lambda name, services: {"version": "v1", "deployment": name, "services": services},
        st.sampled_from(["shop", "A-1", "x23"]),
        st.dictionaries(NAMES, SERVICES, max_size=3),
    )
