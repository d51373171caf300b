from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from zlayer.model.errors import Failed, Unavailable
from zlayer.network import nft

Inside = Callable[[Callable[[], object]], object]
RULES = "table inet zlayer_t {\n\tchain c {\n\t\tip saddr 10.64.0.0/20 accept\n\t}\n}\n"


@pytest.mark.root
@pytest.mark.parametrize("by", ["library", "command"])
def test_the_library_and_the_command_do_the_same(inside: Inside, by: str) -> None:
    if by == "command" and not shutil.which("nft"):
        pytest.skip("the nft command is not installed")

    def body() -> str:
        nft.run(RULES)
        if by == "library":
            return nft.run("list table inet zlayer_t")
        code, out, said = nft._by_command("list table inet zlayer_t")
        return out if code == 0 else said

    assert str(inside(body)).split() == RULES.split()


@pytest.mark.root
def test_a_run_is_all_or_nothing(inside: Inside) -> None:
    def body() -> bool:
        with pytest.raises(Failed, match="nftables"):
            nft.run("table ip half { }\ndelete table ip nosuch\n")
        return "half" in nft.run("list tables")

    assert inside(body) is False


@pytest.mark.root
def test_removal_works_with_and_without_the_table(inside: Inside) -> None:
    def body() -> str:
        nft.run(RULES)
        nft.run(nft.removal("zlayer_t"))
        nft.run(nft.removal("zlayer_t"))
        return nft.run("list tables")

    assert inside(body) == ""


@pytest.mark.root
def test_the_hosts_forward_policy_is_seen(inside: Inside) -> None:
    def body() -> list[str]:
        seen = [nft.forward_policy()]
        chain = "table ip filter {{\nchain FORWARD {{\ntype filter hook forward priority 0; policy {0};\n}}\n}}\n"
        for policy in ("accept", "drop"):
            nft.run(chain.format(policy))
            seen.append(nft.forward_policy())
        return seen

    assert inside(body) == ["", "accept", "drop"]


def test_refusals_say_what_to_do() -> None:
    denied = nft._refusal("Error: Could not process rule: Operation not permitted\n")
    missing = nft._refusal("Error: Could not process rule: Operation not supported\n")
    other = nft._refusal("Error: syntax error")
    assert isinstance(denied, Unavailable)
    assert "CAP_NET_ADMIN" in denied.hint
    assert isinstance(missing, Unavailable)
    assert "modprobe" in missing.hint
    assert isinstance(other, Failed)
    assert "syntax error" in other.message
