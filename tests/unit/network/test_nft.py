from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from zlayer.model.errors import Failed, Unavailable
from zlayer.network import nft

Inside = Callable[[Callable[[], object]], object]
RULES = nft.ruleset("zlayer_t", "zlt", "10.64.0.0/20")


def test_bridge_internal_traffic_is_not_masqueraded() -> None:
    assert "ip saddr 10.64.0.0/20 ip daddr != 10.64.0.0/20" in RULES
    assert 'oifname != "zlt" masquerade' in RULES


@pytest.mark.root
@pytest.mark.parametrize("by", ["library", "command"])
def test_the_kernel_prints_the_table_as_we_wrote_it(inside: Inside, by: str) -> None:
    """That is what lets `ensure` see that there is nothing to do."""
    if by == "command" and not shutil.which("nft"):
        pytest.skip("the nft command is not installed")

    def body() -> str:
        nft.run(RULES)
        if by == "library":
            return nft.run("list table ip zlayer_t")
        code, out, said = nft._by_command("list table ip zlayer_t")
        return out if code == 0 else said

    assert str(inside(body)).split() == RULES.split()


@pytest.mark.root
def test_ensure_makes_mends_and_leaves_other_tables_alone(inside: Inside) -> None:
    def body() -> list[bool]:
        nft.run("table ip other {\nchain c {\n}\n}\n")
        seen = []
        for harm in ("", "flush table ip zlayer_t", "add chain ip zlayer_t stray", "delete table ip zlayer_t"):
            if harm:
                nft.run(harm)
            nft.ensure("zlayer_t", RULES)
            nft.ensure("zlayer_t", RULES)
            seen.append(nft.run("list table ip zlayer_t").split() == RULES.split())
        return [*seen, "chain c" in nft.run("list table ip other")]

    assert inside(body) == [True] * 5


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
