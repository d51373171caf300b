from __future__ import annotations

from collections.abc import Callable

import pytest

from zlayer.model.errors import Invalid
from zlayer.spec import syntax as s

Check = Callable[[str], str]


@pytest.mark.parametrize(
    ("check", "text", "normal"),
    [
        (s.check_deployment, "Shop-1", "Shop-1"),
        (s.check_name, "a_b-c", "a_b-c"),
        (s.check_volume, "my-data", "my-data"),
        (s.check_target, "/a//b/./c/", "/a/b/c"),
        (s.check_target, "//a", "/a"),
        (s.check_absolute, "/", "/"),
        (s.check_source, "../x", "../x"),
        (s.check_ip, "::0001", "::1"),
        (s.check_hostname, "db.example.org", "db.example.org"),
        (s.check_extra_host, "db:10.0.0.1", "db:10.0.0.1"),
        (s.check_extra_host, "db:[::1]", "db:::1"),
        (s.check_extra_host, "h:host-gateway", "h:host-gateway"),
        (s.check_user, "1000:www-data", "1000:www-data"),
        (s.check_capability, "cap_net_admin", "CAP_NET_ADMIN"),
        (s.check_capability, "all", "ALL"),
        (s.check_signal, "term", "SIGTERM"),
        (s.check_signal, "9", "SIGKILL"),
        (s.check_signal, "SIGRTMIN+3", "SIGRTMIN+3"),
        (s.check_sysctl, "net/core/somaxconn", "net.core.somaxconn"),
        (s.check_sysctl, "kernel.shm_rmid_forced", "kernel.shm_rmid_forced"),
        (s.check_ulimit, "RLIMIT_NOFILE", "nofile"),
        (s.check_cpuset, "0-3,5", "0-3,5"),
        (s.check_expose, "8080/udp", "8080/udp"),
    ],
)
def test_normal_forms(check: Check, text: str, normal: str) -> None:
    assert check(text) == normal
    assert check(normal) == normal


@pytest.mark.parametrize(
    ("check", "text", "suggestion"),
    [
        (s.check_deployment, "a" * 64, ""),
        (s.check_deployment, "my_shop", "my-shop"),
        (s.check_name, "-a", "a"),
        (s.check_name, "a.b", "a-b"),
        (s.check_volume, "Data", "data"),
        (s.check_target, "/", ""),
        (s.check_target, "/a/..", ""),
        (s.check_absolute, "etc", "/etc"),
        (s.check_absolute, "/a\nb", ""),
        (s.check_source, "", ""),
        (s.check_source, "~/a", ""),
        (s.check_ip, "10.0.0.256", ""),
        (s.check_hostname, "-a", "a"),
        (s.check_hostname, "a" * 65, ""),
        (s.check_extra_host, "db=1.1.1.1", "db:1.1.1.1"),
        (s.check_user, "a:b:c", ""),
        (s.check_capability, "SYS_ADMN", "SYS_ADMIN"),
        (s.check_signal, "TREM", "SIGTERM"),
        (s.check_signal, "99", ""),
        (s.check_sysctl, "vm.overcommit_memory", ""),
        (s.check_sysctl, "net", ""),
        (s.check_ulimit, "nofiles", "nofile"),
        (s.check_cpuset, "3-1", ""),
        (s.check_expose, "0", ""),
        (s.check_expose, "http", ""),
    ],
)
def test_what_is_refused_and_what_is_offered(check: Check, text: str, suggestion: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(text)
    [problem] = caught.value.problems
    if suggestion:
        assert problem.suggestion == suggestion
        check(suggestion)
