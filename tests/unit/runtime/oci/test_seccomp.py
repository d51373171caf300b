"""The seccomp profile: an allow list that follows the capabilities and the architecture."""

from __future__ import annotations

from typing import Any

import pytest

from zlayer.runtime.oci.capabilities import DEFAULT, named
from zlayer.runtime.oci.seccomp import profile
from zlayer.runtime.oci.seccomp_calls import ALWAYS, BY_CAPABILITY


def allowed(document: dict[str, Any]) -> set[str]:
    """Names allowed whatever their arguments."""
    rules = [r for r in document["syscalls"] if r["action"] == "SCMP_ACT_ALLOW" and "args" not in r]
    return {name for rule in rules for name in rule["names"]}


def test_what_is_not_named_fails_with_eperm() -> None:
    document = profile(DEFAULT, machine="x86_64")
    assert (document["defaultAction"], document["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    names = allowed(document)
    for name in ("read", "openat", "execve", "futex", "epoll_pwait2", "clone3"):
        assert (name in names) == (name != "clone3")
    for name in ("mount", "bpf", "ptrace_me", "init_module", "kexec_load", "keyctl", "io_uring_setup", "userfaultfd"):
        assert name not in names


@pytest.mark.parametrize("capability", sorted(BY_CAPABILITY))
def test_a_capability_brings_its_calls(capability: str) -> None:
    assert set(BY_CAPABILITY[capability]) <= allowed(profile(frozenset({capability}), machine="x86_64"))


def test_clone_makes_namespaces_only_with_sys_admin() -> None:
    def rules_of(capabilities: frozenset[str], name: str) -> list[dict[str, Any]]:
        return [r for r in profile(capabilities, machine="x86_64")["syscalls"] if r["names"] == [name]]

    (clone,) = rules_of(DEFAULT, "clone")
    assert clone["args"] == [{"index": 0, "value": 0x7E020000, "op": "SCMP_CMP_MASKED_EQ", "valueTwo": 0}]
    (clone3,) = rules_of(DEFAULT, "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert rules_of(named(("SYS_ADMIN",), "x"), "clone") == []


def test_vsock_and_odd_personalities_are_denied() -> None:
    rules = profile(DEFAULT, machine="x86_64")["syscalls"]
    (socket,) = [r for r in rules if r["names"] == ["socket"]]
    assert socket["args"][0] == {"index": 0, "value": 40, "op": "SCMP_CMP_NE"}
    assert len([r for r in rules if r["names"] == ["personality"]]) == 5


def test_architectures() -> None:
    both = profile(DEFAULT, machine="x86_64")
    assert both["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert profile(DEFAULT, both_abis=False, machine="x86_64")["architectures"] == ["SCMP_ARCH_X86_64"]
    arm = profile(DEFAULT, machine="aarch64")
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "cacheflush" in allowed(arm)
    assert "arch_prctl" in allowed(both) - allowed(arm)
    assert profile(DEFAULT, machine="vax") == {}


def test_no_name_is_both_free_and_bound_to_a_capability() -> None:
    bound = {name for names in BY_CAPABILITY.values() for name in names}
    assert bound & set(ALWAYS) == set()
