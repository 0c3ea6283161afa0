"""A wrong inventory stops the play before any host is touched, with words that name the entry and what is allowed."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.widgets.mail.plugins.filter import policy

from tests.site import lab

UNTOUCHED = "no-such-container"


def validate(**changes: Any) -> subprocess.CompletedProcess[str]:
    """Check the inventory with some variables changed. Its hosts are made unreachable: to touch one would fail otherwise."""
    extra = json.dumps({"ansible_host": UNTOUCHED, **changes})
    return lab.ansible("ansible-playbook", "-i", str(lab.INVENTORY), "playbooks/validate.yml", "-e", extra, check=False)


def flows() -> list[dict[str, Any]]:
    """A copy of the flow table to spoil."""
    return copy.deepcopy(lab.site()["flows"])


def unknown_zone() -> tuple[dict[str, Any], list[str]]:
    """A flow from a zone that is not there."""
    wrong = flows()
    wrong[0]["from"] = "nowhere"
    return {"site_flows": wrong}, [wrong[0]["id"], "nowhere", *lab.site()["zones"]]


def unknown_service() -> tuple[dict[str, Any], list[str]]:
    """A flow of a service that is not there."""
    wrong = flows()
    wrong[1]["services"] = ["gopher"]
    return {"site_flows": wrong}, [wrong[1]["id"], "gopher", *lab.site()["services"]]


def duplicate_id() -> tuple[dict[str, Any], list[str]]:
    """Two flows of one id."""
    wrong = flows()
    wrong[2]["id"] = wrong[0]["id"]
    return {"site_flows": wrong}, [f"'{wrong[0]['id']}'", "entry 3", "must differ"]


def store_open_to_the_outside() -> tuple[dict[str, Any], list[str]]:
    """A flow that lets strangers in to the mailboxes."""
    wrong = flows()
    wrong.append({"id": "pop-abroad", "from": "outside", "to": lab.STORE, "services": ["pop3s"]})
    return {"site_flows": wrong}, ["pop-abroad", "outside", f"'{lab.STORE}'", "opens a store", "through a gateway"]


def domain_on_two_stores() -> tuple[dict[str, Any], list[str]]:
    """One domain, twice."""
    return {"site_domains": [*lab.site()["domains"], {"name": lab.domain(), "store": lab.GATEWAY}]}, [
        lab.domain(),
        "one store a domain",
    ]


def alias_to_a_program_off_the_list() -> tuple[dict[str, Any], list[str]]:
    """A pipe to what nobody has allowed."""
    return {"site_aliases": {**lab.variables()["site_aliases"], "shell": ["|/bin/sh"]}}, [
        "site_aliases.shell",
        "/bin/sh",
        "site_programs",
    ]


def address_outside_its_zone() -> tuple[dict[str, Any], list[str]]:
    """A host whose address is not in its zone's network."""
    wrong = copy.deepcopy(lab.site()["hosts"])
    zone = lab.zone(lab.GATEWAY)
    wrong[lab.GATEWAY]["interfaces"][zone]["address"] = "192.0.2.1"
    return {"site_hosts": wrong}, [lab.GATEWAY, zone, "192.0.2.1", lab.site()["zones"][zone]["network"]]


def overlapping_zones() -> tuple[dict[str, Any], list[str]]:
    """Two zones that share addresses."""
    wrong = copy.deepcopy(lab.site()["zones"])
    one, two = policy.level_zones(lab.site())[:2]
    wrong[one]["network"] = wrong[two]["network"]
    return {"site_zones": wrong}, [one, two, "overlaps"]


def port_out_of_range() -> tuple[dict[str, Any], list[str]]:
    """A service on a port that no host has."""
    wrong = copy.deepcopy(lab.site()["services"])
    wrong["smtp"]["tcp"] = [70000]
    return {"site_services": wrong}, ["smtp", "70000", "1 to 65535"]


def malformed_domain() -> tuple[dict[str, Any], list[str]]:
    """A mail domain that is no domain."""
    wrong = copy.deepcopy(lab.site()["domains"])
    wrong[0]["name"] = "widgets..example"
    return {"site_domains": wrong}, ["site_domains[0].name", "widgets..example", "such as"]


def dangling_alias() -> tuple[dict[str, Any], list[str]]:
    """An alias that leads to nobody."""
    return {"site_aliases": {**lab.aliases(), "sales": ["nobody.we.know"]}}, ["site_aliases.sales", "nobody.we.know"]


# Public halves of keys that nobody has.
KEYS = ["B0VqhZpJED5HJQeVFzzwpTiFDgvYAp+GkLx7fG1z9XE=", "fcEIAFx233zMDE7nZ8fCTc2MOH3N8kvHkYC4vkNfLUk="]


def peers(**changes: Any) -> dict[str, Any]:
    """The peers of the concentrator with keys that can be read here, the last of them changed."""
    out = [{**peer, "public_key": key} for peer, key in zip(lab.variables()["site_vpn_peers"], KEYS, strict=True)]
    out[-1] |= changes
    return {"site_vpn_peers": out}


def peer_without_key() -> tuple[dict[str, Any], list[str]]:
    """A peer whose key is missing."""
    return peers(public_key=""), ["entry 2 (branch)", "no public_key", "wg pubkey"]


def peers_with_one_address() -> tuple[dict[str, Any], list[str]]:
    """Two peers that one address leads to."""
    (address,) = lab.variables()["site_vpn_peers"][0]["addresses"]
    return peers(addresses=[address]), ["entry 2 (branch)", address, "roamer", "must not share"]


def peer_that_passes_for_a_zone() -> tuple[dict[str, Any], list[str]]:
    """A peer who could send as the inside."""
    inside = lab.site()["zones"][lab.zone(lab.STORE)]["network"]
    return peers(addresses=[inside]), ["entry 2 (branch)", inside, f"overlaps site_zones.{lab.zone(lab.STORE)}"]


def tunnel_to_the_world() -> tuple[dict[str, Any], list[str]]:
    """A flow from a tunnel to everywhere."""
    wrong = flows()
    far = policy.tunnel_zones(lab.site())[0]
    wrong[0]["from"], wrong[0]["to"] = far, policy.ANY
    return {"site_flows": wrong}, [wrong[0]["id"], far, "beyond a tunnel"]


@pytest.mark.requirement("NET-1", side="positive")
def test_the_inventory_as_it_stands_passes_the_check_without_a_host() -> None:
    done = validate()
    assert done.returncode == 0, done.stdout


@pytest.mark.requirement("NET-1", side="negative")
@pytest.mark.parametrize(
    "spoil",
    [
        unknown_zone,
        unknown_service,
        duplicate_id,
        store_open_to_the_outside,
        domain_on_two_stores,
        alias_to_a_program_off_the_list,
        address_outside_its_zone,
        overlapping_zones,
        port_out_of_range,
        malformed_domain,
        dangling_alias,
        peer_without_key,
        peers_with_one_address,
        peer_that_passes_for_a_zone,
        tunnel_to_the_world,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_wrong_entry_stops_the_play_and_is_named_with_what_is_allowed(spoil: Any) -> None:
    changes, words = spoil()
    done = validate(**changes)
    assert done.returncode != 0
    assert "Nothing was changed" in done.stdout
    assert "UNREACHABLE" not in done.stdout
    assert [word for word in words if word not in done.stdout] == []


def number_in_words() -> tuple[dict[str, Any], list[str]]:
    """A number that is none."""
    return {"sendmail_max_recipients": "many"}, ["sendmail_max_recipients", "many", "int"]


def choice_that_is_none() -> tuple[dict[str, Any], list[str]]:
    """A value off the list."""
    return {"ssh_permit_root": "yes"}, ["ssh_permit_root", "prohibit-password", "got: yes"]


def unknown_key() -> tuple[dict[str, Any], list[str]]:
    """A row with a key that no row has."""
    return {"tcp_wrappers_allow": [{"daemons": "sshd", "clients": ["ALL"]}]}, ["tcp_wrappers_allow", "daemons"]


def missing_key() -> tuple[dict[str, Any], list[str]]:
    """An exception without its reason."""
    return {"hardening_setid_allowed": [{"path": "/usr/bin/passwd"}]}, ["hardening_setid_allowed", "reason"]


def slip_of_the_pen() -> tuple[dict[str, Any], list[str]]:
    """A name that is nearly a variable's."""
    return {"sendmail_max_recepients": 50}, ["sendmail_max_recepients", "is sendmail_max_recipients meant?"]


@pytest.mark.parametrize(
    "spoil",
    [number_in_words, choice_that_is_none, unknown_key, missing_key, slip_of_the_pen],
    ids=lambda spoil: spoil.__name__,
)
def test_a_variable_that_a_role_would_refuse_stops_the_play_before_the_first_role(spoil: Any) -> None:
    changes, words = spoil()
    done = validate(**changes)
    assert done.returncode != 0 and "UNREACHABLE" not in done.stdout
    assert "Nothing was changed" in done.stdout
    assert [word for word in words if word not in done.stdout] == []


def test_an_inventory_without_its_tables_is_told_which_are_missing(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"[site]\n{UNTOUCHED}\n")
    done = lab.ansible("ansible-playbook", "-i", str(tmp_path / "hosts"), "playbooks/validate.yml", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert [
        name for name in ("site_zones", "site_flows", "site_users", "group_vars/all", "Nothing was changed") if name not in said
    ] == []
