"""What counts as a difference between two states of a host."""

from __future__ import annotations

import pytest

from tests.site import state

RULES = """table inet firewall {
	set logged {
		type ipv4_addr
		size 65535
		flags dynamic,timeout
		timeout 10s%s
	}

	set open6 {
		type ipv6_addr
		size 65535
		flags dynamic%s
	}

	set private {
		type ipv4_addr
		elements = { %s }
	}

	chain forward {
		iifgroup 3 add @open6 { ip6 saddr & ffff:ffff:ffff:ffff:: ct count over 50 } jump denied
	}
}
"""
HOST, OTHER = "192.0.2.1", "192.0.2.2"
TWO = (
    f"\n\t\telements = {{ {HOST} limit rate 50/second burst 200 packets expires 9s,\n\t\t\t     {OTHER} limit rate 50/second }}"
)
ONE6 = "\n\t\telements = { fe80:: ct count over 50 }"


@pytest.mark.parametrize(("logged", "open6"), [(TWO, ""), ("", ONE6), (TWO, ONE6)])
def test_whom_rules_have_met_is_no_difference(logged: str, open6: str) -> None:
    assert state.written(RULES % (logged, open6, HOST)) == state.written(RULES % ("", "", HOST))


def test_what_was_written_into_a_set_is_one() -> None:
    one, other = (state.written(RULES % ("", "", address)) for address in (HOST, OTHER))
    assert one ^ other == {f"elements = {{ {address} }}" for address in (HOST, OTHER)}


def test_a_limit_of_a_rule_is_one() -> None:
    assert state.written(RULES % ("", "", HOST)) != state.written((RULES % ("", "", HOST)).replace("over 50", "over 60"))
