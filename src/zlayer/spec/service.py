"""The keys of one service."""

from __future__ import annotations

from typing import Any

from zlayer.spec import model as m
from zlayer.spec import together
from zlayer.spec.cron import check_cron
from zlayer.spec.endpoints import ENDPOINTS, EXPOSE
from zlayer.spec.envrefs import check_key, check_value
from zlayer.spec.health import HEALTH, duration
from zlayer.spec.imagename import check_image
from zlayer.spec.network import NETWORK, NETWORK_MODE
from zlayer.spec.nodes import Table
from zlayer.spec.ports import PORT_MAPPINGS
from zlayer.spec.records import Field, ListOf, MapOf, Record
from zlayer.spec.report import At
from zlayer.spec.resources import RESOURCES, ULIMITS
from zlayer.spec.scale import DEPENDS, ScaleShape
from zlayer.spec.security import IPC_MODE, PID_MODE, check_security
from zlayer.spec.shapes import Choice, Flag, Number, Shape, Text, as_text
from zlayer.spec.storage import DEVICES, STORAGE, memory
from zlayer.spec.syntax import (
    HOSTNAME_PATTERN,
    USER_PATTERN,
    check_absolute,
    check_capability,
    check_extra_host,
    check_hostname,
    check_ip,
    check_signal,
    check_sysctl,
    check_user,
)
from zlayer.spec.update import UPDATE

IMAGE = Record(
    m.ImageSpec,
    {
        "name": Field(
            Text("Image reference: registry/name:tag or @digest.", check_image, r"\S"),
            required=True,
        ),
        "pull_policy": Field(Choice("When the registry is asked.", ("if_not_present", "always", "newer", "never"))),
        "source_policy": Field(
            Choice("Where the image may come from.", ("local_first", "s3_first", "remote_only", "local_only"))
        ),
    },
    "What runs.",
    synonyms={"image": "name", "pull": "pull_policy", "repository": "name"},
    expected="a map such as {name: nginx:1.27}",
    short="name",
)

_WORDS = ListOf(Text(loose=True), expected="a list of words")
COMMAND = Record(
    m.CommandSpec,
    {
        "entrypoint": Field(_WORDS),
        "args": Field(_WORDS),
        "workdir": Field(Text("Absolute path in the container.", check_absolute, "^/")),
    },
    "What the container executes; left out, the image's own.",
    synonyms={"command": "args", "cmd": "args", "working_dir": "workdir", "cwd": "workdir"},
    expected="a map such as {args: [...]}",
)

_ACTION = Record(m.PanicSpec, {"action": Field(Choice("", ("restart",), ("shutdown", "isolate")), required=True)})
ERRORS = Record(m.ErrorsSpec, {"on_panic": Field(_ACTION)}, "What follows a crash.", later={"on_init_failure": None})

RESTART = Record(
    m.RestartSpec,
    {
        "kind": Field(Choice("", ("no", "always", "unless_stopped", "on_failure")), required=True),
        "max_attempts": Field(Number("Left out: without end.", 0)),
    },
    "What follows an instance that ended. Default always.",
    later={"delay": duration("")},
    synonyms={"condition": "kind", "policy": "kind", "max_retries": "max_attempts", "name": "kind"},
    expected="a map such as {kind: on_failure}",
    short="kind",
)

LOGS = Record(
    m.LogsSpec,
    {
        "destination": Field(Choice("Only `disk` so far.", ("disk",), ("memory",))),
        "max_size_bytes": Field(memory("Kept per instance. Default 100Mi.")),
    },
    "What is kept of its output.",
    later={"retention_secs": Number(low=1)},
)

PLATFORM = Record(
    m.PlatformSpec,
    {
        "os": Field(Choice("", ("linux",), ("windows", "macos"))),
        "arch": Field(
            Choice("Default: the node's own.", ("amd64", "arm64"), synonyms={"x86_64": "amd64", "aarch64": "arm64"})
        ),
    },
    "Which image of a multi-platform list.",
    later={"osVersion": None},
    synonyms={"architecture": "arch"},
    expected="a map such as {os: linux, arch: arm64}",
)


def _lifecycle(*, delete_on_exit: bool = False) -> m.LifecycleSpec:
    return m.LifecycleSpec()


def _only_default(made: m.LifecycleSpec, found: Table, at: At) -> None:
    node = found.get("delete_on_exit")
    if getattr(node, "value", None) is True and node is not None:
        (at / "delete_on_exit").not_yet(node, "delete_on_exit: true")


LIFECYCLE = Record(
    _lifecycle,
    {"delete_on_exit": Field(Flag("Only false so far."))},
    "What remains of an instance that ended.",
    check=_only_default,
)


def _capabilities(about: str) -> ListOf[str]:
    return ListOf(Text("A capability such as NET_ADMIN, or ALL.", check_capability), about)


SUPPORTED: dict[str, Field] = {
    "rtype": Field(Choice("Only `service` so far.", ("service",), ("job", "cron"))),
    "image": Field(IMAGE, required=True, instead=m.ImageSpec(name="scratch")),
    "command": Field(COMMAND),
    "env": Field(
        MapOf(Text("Text, or $E:VAR of the host.", check_value, loose=True), check_key, "Environment variables.")
    ),
    "resources": Field(RESOURCES),
    "endpoints": Field(ENDPOINTS),
    "expose": Field(EXPOSE),
    "port_mappings": Field(PORT_MAPPINGS),
    "network": Field(NETWORK),
    "update": Field(UPDATE),
    "scale": Field(ScaleShape()),
    "depends": Field(DEPENDS),
    "health": Field(HEALTH),
    "errors": Field(ERRORS),
    "lifecycle": Field(LIFECYCLE),
    "logs": Field(LOGS),
    "storage": Field(STORAGE),
    "devices": Field(DEVICES),
    "capabilities": Field(_capabilities("Added to the default set.")),
    "cap_add": Field(_capabilities("Another name of capabilities."), to="capabilities"),
    "cap_drop": Field(_capabilities("Taken from the default set; ALL takes every one.")),
    "privileged": Field(Flag("All capabilities and devices, no seccomp.")),
    "platform": Field(PLATFORM),
    "hostname": Field(Text("Default: the instance's id.", check_hostname, HOSTNAME_PATTERN)),
    "dns": Field(ListOf(Text("", check_ip), "Name servers.")),
    "extra_hosts": Field(
        ListOf(Text("host:ip; the ip may be host-gateway.", check_extra_host), "Lines of /etc/hosts.")
    ),
    "restart_policy": Field(RESTART),
    "labels": Field(MapOf(Text(loose=True), as_text, "Your own notes.")),
    "user": Field(Text("name, uid, name:group or uid:gid", check_user, USER_PATTERN, loose=True)),
    "stop_signal": Field(Text("Default: the image's, else SIGTERM.", check_signal, loose=True)),
    "stop_grace_period": Field(duration("Between the stop signal and SIGKILL. Default 10s.")),
    "sysctls": Field(MapOf(Text(loose=True), check_sysctl, "Kernel settings of the container: net.*, fs.mqueue.*…")),
    "ulimits": Field(ULIMITS),
    "security_opt": Field(
        ListOf(Text("", check_security), "no-new-privileges[:true|false], seccomp=default|unconfined.")
    ),
    "pid_mode": Field(PID_MODE),
    "ipc_mode": Field(IPC_MODE),
    "network_mode": Field(NETWORK_MODE),
    "host_network": Field(Flag("The same as network_mode: host.")),
    "extra_groups": Field(ListOf(Text("Group name or gid.", check_user, loose=True), "Groups besides the user's own.")),
    "read_only_root_fs": Field(Flag("Nothing but mounts can be written.")),
    "tty": Field(Flag("Give it a terminal.")),
    "stdin_open": Field(Flag("Keep its input open.")),
}

LATER: dict[str, Shape[Any] | None] = {
    "schedule": Text(check=check_cron),
    **dict.fromkeys(
        (
            "service_type", "overlay", "localhost_reachability", "replica_groups", "init", "node_mode",
            "node_selector", "affinity", "init_container", "userns_mode", "cgroup_parent", "isolation", "wasm",
            "wasm_http",
        )
    ),
}  # fmt: skip

SYNONYMS = {
    "environment": "env", "ports": "port_mappings", "volumes": "storage", "mounts": "storage",
    "depends_on": "depends", "deploy": "scale", "replicas": "scale", "healthcheck": "health",
    "entrypoint": "command", "args": "command", "cmd": "command", "working_dir": "command", "mem_limit": "resources",
    "memory": "resources", "cpus": "resources", "cpu": "resources", "restart": "restart_policy",
    "read_only": "read_only_root_fs", "group_add": "extra_groups", "pid": "pid_mode", "ipc": "ipc_mode",
    "logging": "logs", "type": "rtype", "cron": "schedule", "tmpfs": "storage", "net": "network_mode",
    "update_config": "update", "updateStrategy": "update", "strategy": "update", "rollout": "update",
    "published": "port_mappings", "publish": "port_mappings", "networks": "network", "reach": "network",
}  # fmt: skip


def _service(*, host_network: bool = False, **values: Any) -> m.ServiceSpec:  # Any: fields read by their shapes
    if host_network:
        values["network_mode"] = "host"
    return m.ServiceSpec(**values)


SERVICE = Record(
    _service,
    SUPPORTED,
    "Containers of one kind.",
    later=LATER,
    synonyms=SYNONYMS,
    check=together.check,
    expected="a map with 'image'",
)
