"""The policy that senders are asked to keep to, and the records that say where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible_collections.widgets.mail.plugins.filter import dns, lab, mta_sts, policy
from ansible_collections.widgets.mail.plugins.plugin_utils import role_checks

from tests.unit.inventory import BOTH, CERTIFICATE, authority, certificate, lab_site

ROOT = Path(__file__).resolve().parents[2]
SOUND: dict[str, Any] = {"mode": "testing", "reports": ["tls@widgets.example"], "certificate": BOTH}
TLS = {"authority": CERTIFICATE, "certificates": {"smtp1": BOTH, "mail": BOTH}}


def records(**changes: Any) -> dict[str, str]:
    """What is published of the lab's domain."""
    found = mta_sts.mta_sts_records({**SOUND, **changes}, lab_site(), ["widgets.example"], ["smtp1"])
    assert {row["zone"] for row in found} == {"widgets.example"}
    return {row["name"]: row["value"] for row in found}


def errors(**changes: Any) -> str:
    """What is said of a sound policy with something changed; None takes it away."""
    sts = {key: value for key, value in {**SOUND, **changes}.items() if value is not None}
    return " ".join(mta_sts.mta_sts_errors(sts, lab_site(), ["smtp1"], TLS, []))


def test_the_policy_is_what_rfc_8461_wants() -> None:
    text = mta_sts.mta_sts_policy(["mx1.a.example", "mx2.a.example"], "enforce", 604800)
    assert text == "version: STSv1\nmode: enforce\nmx: mx1.a.example\nmx: mx2.a.example\nmax_age: 604800\n"


def test_the_id_changes_with_the_policy_and_with_nothing_else() -> None:
    one = records()["_mta-sts"]
    assert one == records(reports=[], certificate="/etc/ssl/x.pem")["_mta-sts"]
    assert len({one, records(mode="enforce")["_mta-sts"], records(max_age=100000)["_mta-sts"]}) == 3
    assert one.startswith("v=STSv1; id=") and one.endswith(";") and one[12:-1].isalnum() and len(one[12:-1]) <= 32


def test_records_are_in_both_views_and_lead_to_the_gateway() -> None:
    assert records()["mta-sts"] == "smtp1.widgets.example."
    assert records()["_smtp._tls"] == "v=TLSRPTv1; rua=mailto:tls@widgets.example"
    assert (
        "_smtp._tls" not in records(reports=[])
        and mta_sts.mta_sts_records({}, lab_site(), ["widgets.example"], ["smtp1"]) == []
    )
    rows = mta_sts.mta_sts_records(SOUND, lab_site(), ["widgets.example"], ["smtp1"])
    zones = [zone for zone in dns.dns_zones(lab_site(), ["dns1"], ["smtp1"], records=rows) if zone["name"] == "widgets.example"]
    assert len(zones) == 2 and all("_mta-sts" in [row["name"] for row in zone["records"]] for zone in zones)
    assert dns.dns_zone_errors(zones) == []


def test_a_policy_is_had_of_a_host_that_can_be_reached_and_has_a_certificate() -> None:
    assert errors() == ""
    assert "site_mta_sts.host is 'mail'" in errors(host="mail")
    assert "certificate is needed" in errors(certificate=None)
    assert mta_sts.mta_sts_errors({"mode": "testing"}, lab_site(), ["smtp1"], TLS, ["smtp1"]) == []
    assert "no flow leads to TCP port 443 of dns1" in errors(host="dns1")
    assert "PEM" in errors(certificate=CERTIFICATE)


def test_a_policy_is_not_enforced_without_tls() -> None:
    assert errors(mode="enforce") == ""
    assert "could send nothing" in " ".join(mta_sts.mta_sts_errors({**SOUND, "mode": "enforce"}, lab_site(), ["smtp1"], {}, []))
    assert "max_age is 60" in errors(max_age=60) and "max_age is True" in errors(max_age=True)


def test_a_role_without_servers_publishes_no_policy() -> None:
    assert role_checks.CHECKS["mta_sts"]({"mta_sts_mx": []}) and not role_checks.CHECKS["mta_sts"](
        {"mta_sts_mx": ["a.example"]}
    )


# -- others' policies --------------------------------------------------------------------------------------------------


def outward(site: dict[str, Any], value: Any = True, tls: Any = TLS) -> str:
    return " ".join(mta_sts.mta_sts_outward_errors(value, site, ["smtp1"], tls))


def test_who_keeps_to_others_policies_has_tls_and_a_way_to_them() -> None:
    site = lab_site()
    assert outward(site) == "" and outward(site, False, {}) == "" and "must be true or false" in outward(site, "yes")
    assert "have no TLS" in outward(site, tls={})
    site["flows"] = [flow for flow in site["flows"] if "https" not in flow["services"] or flow["from"] != "smtp1"]
    assert "no flow leads from smtp1 to TCP port 443" in outward(site)
    site["flows"].append({"id": "web", "from": "dmz", "to": "any", "services": ["https"]})
    assert outward(site) == ""


def test_who_has_signed_for_own_hosts_is_known() -> None:
    """Else they would take each other for somebody with a public authority's certificate."""
    tls = {"authority": authority(), "certificates": {"smtp1": certificate("smtp1.a.example"), "mail": "/etc/acme/mail.pem"}}
    assert outward(lab_site(), tls=tls) == ""
    tls["authority"] = certificate("another")
    assert "site_tls.certificates.smtp1 was signed by /CN=Lab authority, whose certificate" in outward(lab_site(), tls=tls)


def test_no_policy_is_fetched_from_a_zone_that_no_stranger_is_in() -> None:
    inside = policy.policy_inside(lab_site())
    assert {"10.1.0.0/24", "10.1.1.0/24", "10.1.2.0/24", "2001:db8:a1:100::/64"} <= set(inside)
    assert not {"198.51.100.0/27", "198.18.0.0/24"} & set(inside)


def test_the_labs_domains_with_a_policy_fit_together() -> None:
    domains = {
        "kept": {"mode": "enforce", "mx": "own", "shows": "own"},
        "tried": {"mode": "testing", "mx": "any", "shows": "other"},
    }
    assert lab.lab_sts_names(domains, "a.example") == {
        "world-web": ["mta-sts.kept.a.example", "mta-sts.tried.a.example"],
        "world-own": ["mx.kept.a.example"],
    }
    assert lab.lab_sts_shown(domains, "a.example") == {"mx.kept.a.example": "world-own"}
    assert "mx: *.tried.a.example\r\n" in lab.lab_sts_policies(domains, "a.example")["mta-sts.tried.a.example"]
    assert lab.lab_sts_names({}, "a.example") == {}


def test_what_the_wiring_says_of_roles_that_run_before_is_what_these_roles_say() -> None:
    """A role's defaults are not there before it runs, so that the wiring has to say them again."""

    def load(path: str) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        return found

    site = load("playbooks/group_vars/site.yml")
    facts = load("roles/mta_sts_resolver/vars/main.yml")
    authorities = facts["__mta_sts_resolver_authorities"].replace(
        "{{ __mta_sts_resolver_directory }}", facts["__mta_sts_resolver_directory"]
    )
    assert f"'{authorities}'" in site["sendmail_sts_authorities"]
    port = load("roles/mta_sts_resolver/defaults/main.yml")["mta_sts_resolver_port"]
    assert f"mta_sts_resolver_port | default({port})" in site["sendmail_sts_port"]
    listen = load("roles/resolver/defaults/main.yml")["resolver_listen"]
    assert f"resolver_listen | default('{listen}')" in site["sendmail_dane_resolver"]
