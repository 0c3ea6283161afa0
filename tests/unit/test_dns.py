"""The site's zones: what each view holds, what must never be public, and how a serial grows."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.widgets.mail.plugins.filter import dns
from ansible_collections.widgets.mail.plugins.modules import dns_files

from tests.unit.inventory import ROOT, lab_site4


@pytest.fixture
def site() -> dict[str, Any]:
    """The lab as it would be with IPv4 alone; tests/unit/test_lab_ipv6.py has the other family."""
    return lab_site4()


def zones(site: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    wanted = {"nameservers": ["dns1"], "gateways": ["smtp1"], "hidden": ["mail", "mgmt"], **more}
    return dns.dns_zones(site, **wanted)


def rows(entries: list[dict[str, Any]], view: str, zone: str, kind: str) -> dict[str, str]:
    (entry,) = [e for e in entries if e["name"] == zone and view in e["views"]]
    return {r["name"]: r["value"] for r in entry["records"] if r["type"] == kind}


def test_the_labs_zones_are_sound(site: dict[str, Any]) -> None:
    assert dns.dns_zone_errors(zones(site)) == []


def test_outside_sees_public_addresses_only(site: dict[str, Any]) -> None:
    assert rows(zones(site), "external", "widgets.example", "A") == {"smtp1": "198.51.100.4", "dns1": "198.51.100.5"}
    assert rows(zones(site), "external", "100.51.198.in-addr.arpa", "PTR") == {
        "4": "smtp1.widgets.example.",
        "5": "dns1.widgets.example.",
    }


def test_no_public_file_names_a_private_host_or_address(site: dict[str, Any]) -> None:
    text = "".join(t for path, t in dns.dns_zone_files(zones(site)).items() if path.startswith("zones/external/"))
    for word in ("10.1.", "mail.widgets", "\nmail ", "mgmt", "workstation", "fw", "router", "vpn"):
        assert word not in text


def test_inside_sees_private_addresses_one_for_each_name(site: dict[str, Any]) -> None:
    assert rows(zones(site), "internal", "widgets.example", "A") == {
        "router": "198.51.100.1",
        "fw": "10.1.0.1",
        "vpn": "10.1.0.3",
        "smtp1": "10.1.1.11",
        "dns1": "10.1.1.12",
        "mgmt": "10.1.0.24",
        "mail": "10.1.0.25",
        "workstation": "10.1.0.100",
    }


def test_inside_every_address_has_its_pointer(site: dict[str, Any]) -> None:
    entries = zones(site)
    assert rows(entries, "internal", "0.1.10.in-addr.arpa", "PTR")["25"] == "mail.widgets.example."
    assert rows(entries, "internal", "1.1.10.in-addr.arpa", "PTR")["1"] == "fw.widgets.example."
    assert rows(entries, "internal", "100.51.198.in-addr.arpa", "PTR") == {
        "1": "router.widgets.example.",
        "2": "fw.widgets.example.",
        "3": "vpn.widgets.example.",
        "4": "smtp1.widgets.example.",
        "5": "dns1.widgets.example.",
    }


@pytest.mark.parametrize("view", ["internal", "external"])
def test_every_mail_domain_leads_to_the_gateway_in_each_view(site: dict[str, Any], view: str) -> None:
    site["domains"] += [{"name": "gadgets.example", "store": "mail"}, {"name": "sub.widgets.example", "store": "mail"}]
    for domain in ("widgets.example", "gadgets.example", "sub.widgets.example"):
        assert rows(zones(site), view, domain, "MX") == {"@": "10 smtp1.widgets.example."}
        assert rows(zones(site), view, domain, "TXT")["@"] == "v=spf1 ip4:198.51.100.4 -all"
    assert rows(zones(site), view, "widgets.example", "NS")["sub"] == "dns1.widgets.example."


def test_a_domain_without_mail_says_so(site: dict[str, Any]) -> None:
    site["domains"] = [{"name": "gadgets.example", "store": "mail"}]
    assert rows(zones(site), "external", "widgets.example", "MX") == {}
    assert rows(zones(site), "external", "widgets.example", "TXT")["@"] == "v=spf1 -all"


def test_only_gateways_may_send_by_a_hosts_name(site: dict[str, Any]) -> None:
    text = rows(zones(site), "external", "widgets.example", "TXT")
    assert (text["smtp1"], text["dns1"]) == ("v=spf1 ip4:198.51.100.4 -all", "v=spf1 -all")


def test_hosts_of_the_internet_are_not_ours(site: dict[str, Any]) -> None:
    assert "internet" not in str(dns.dns_zone_files(zones(site)).values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["hosts"]["mail"].update(public="198.51.100.6"), "'mail' must not be known outside"),
        (lambda s: s["hosts"]["mgmt"].update(public="198.51.100.6"), "'mgmt' must not be known outside"),
        (lambda s: s["hosts"]["smtp1"].pop("public"), "gateway 'smtp1' has no public address"),
        (lambda s: s["hosts"].pop("dns1"), "name server 'dns1' is not a host"),
    ],
)
def test_data_that_would_mislead_the_world_is_refused(site: dict[str, Any], change: Any, message: str) -> None:
    change(site)
    with pytest.raises(Exception, match=message):
        zones(site)


def test_the_store_is_hidden_even_if_nobody_says_so(site: dict[str, Any]) -> None:
    site["hosts"]["mail"]["public"] = "198.51.100.6"
    with pytest.raises(Exception, match="'mail' must not be known outside"):
        zones(site, hidden=[])


def test_own_records_join_the_views_they_name(site: dict[str, Any]) -> None:
    own = {"zone": "widgets.example", "name": "www", "type": "A", "value": "198.51.100.7", "views": ["external"]}
    assert rows(zones(site, records=[own]), "external", "widgets.example", "A")["www"] == "198.51.100.7"
    assert "www" not in rows(zones(site, records=[own]), "internal", "widgets.example", "A")
    with pytest.raises(Exception, match=r"which is none of widgets\.example"):
        zones(site, records=[{**own, "zone": "elsewhere.example"}])


@pytest.mark.parametrize(
    ("network", "address", "zone"),
    [
        ("10.0.0.0/8", "10.1.2.3", "10.in-addr.arpa"),
        ("10.0.0.0/12", "10.1.2.3", "1.10.in-addr.arpa"),
        ("10.1.0.0/16", "10.1.2.3", "1.10.in-addr.arpa"),
        ("10.1.0.0/20", "10.1.2.3", "2.1.10.in-addr.arpa"),
        ("10.1.2.0/24", "10.1.2.3", "2.1.10.in-addr.arpa"),
        ("198.51.100.0/27", "198.51.100.4", "100.51.198.in-addr.arpa"),
        ("2001:db8:0:1::/64", "2001:db8:0:1::5", "1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_reverse_zones_are_cut_at_octets(network: str, address: str, zone: str) -> None:
    assert dns.reverse_zone(network, address) == zone


def test_a_reverse_zone_after_rfc_2317(site: dict[str, Any]) -> None:
    site["zones"]["outside"]["reverse_zone"] = "0/27.100.51.198.in-addr.arpa"
    entries = zones(site)
    assert rows(entries, "external", "0/27.100.51.198.in-addr.arpa", "PTR")["4"] == "smtp1.widgets.example."
    assert dns.dns_zone_errors(entries) == []
    assert "zones/external/0_27.100.51.198.in-addr.arpa" in dns.dns_zone_files(entries)


def test_clients_are_all_but_the_open_zone(site: dict[str, Any]) -> None:
    assert dns.dns_clients(site) == ["10.1.1.0/24", "10.1.0.0/24", "10.1.2.0/24", "10.2.0.0/24"]


GOOD = {"name": "a.example", "mname": "n.a.example.", "rname": "p.a.example.", "ttl": 60, "records": []}
NS = {"name": "@", "type": "NS", "value": "n.a.example."}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"name": "x", "type": "A", "value": "1.2.3"}, "is no address"),
        ({"name": "x", "type": "A", "value": "::1"}, "is an IPv6 address"),
        ({"name": "x", "type": "A", "value": "10.0.0.1\n$INCLUDE /etc/shadow"}, "control characters"),
        ({"name": "x", "type": "MX", "value": "smtp.a.example."}, "is not 1 number"),
        ({"name": "x", "type": "CNAME", "value": "relative"}, "is no absolute name"),
        ({"name": "x", "type": "CNAME", "value": "a.example.\n"}, "control characters"),
        ({"name": "x\n", "type": "A", "value": "10.0.0.1"}, "not a domain name"),
        ({"name": "a b", "type": "A", "value": "10.0.0.1"}, "not a domain name"),
        ({"name": "$INCLUDE", "type": "A", "value": "10.0.0.1"}, "not a domain name"),
        ({"name": "x", "type": "TXT", "value": "gr\u00fc\u00df"}, "is not ASCII"),
        ({"name": "x", "type": "CAA", "value": '0 issue "gr\u00fc\u00df.example"'}, "is not ASCII"),
    ],
)
def test_a_bad_record_is_named(record: dict[str, Any], message: str) -> None:
    (error,) = dns.dns_zone_errors([{**GOOD, "records": [NS, record]}])
    assert message in error and repr(record["name"]) in error


def test_bad_zones_are_named() -> None:
    bad = {**GOOD, "name": "a.example.", "mname": "n", "views": ["internal", "cellar"]}
    text = "\n".join(dns.dns_zone_errors([bad, {**GOOD, "records": [NS]}, {**GOOD, "records": [NS]}]))
    for part in ("without a final dot", "mname 'n'", "'cellar'", "no NS record", "given twice for the view internal"):
        assert part in text


def test_long_text_is_cut_and_quoted() -> None:
    record = {"name": "k", "type": "TXT", "value": 'p="' + "x" * 300}
    assert '"p=\\"' + "x" * 252 + '" "' + "x" * 48 + '"' in dns.dns_zone_text({**GOOD, "records": [record]})


# -- signed zones ----------------------------------------------------------------------------------------------------


def test_zones_that_the_world_sees_are_signed_in_both_views_and_no_others(site: dict[str, Any]) -> None:
    signed = dns.dns_signed_views(zones(site, dnssec=True))
    assert signed == {name: ["internal", "external"] for name in ("widgets.example", "100.51.198.in-addr.arpa")}
    assert dns.dns_signed(zones(site)) == []
    assert dns.dns_zone_errors(zones(site, dnssec=True)) == []


def test_anchors_are_as_named_reads_them() -> None:
    digest = "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
    wanted = f'"." static-ds 20326 8 2 "{digest}";'
    assert dns.dns_anchors([f". IN DS 20326 8 2 {digest}"]) == [wanted]
    # As others print it: with a TTL, and in parts.
    assert dns.dns_anchors([f".  86400 IN DS 20326 8 2 {digest[:56]} {digest[56:]}"]) == [wanted]


STATE = "Algorithm: 13\nDSState: hidden\n"


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (STATE, True),  # nobody has told: the zone above may have it
        (f"{STATE}DSPublish: 20261124120000 (Tue)\n", True),
        (f"{STATE}DSPublish: 20261124120000 (Tue)\nDSRemoved: 20261129120000 (Sun)\n", False),
        (f"{STATE}DSRemoved: 20261124120000 (Tue)\nDSPublish: 20261129120000 (Sun)\n", True),
    ],
)
def test_a_zone_stays_signed_until_the_zone_above_has_forgotten_its_key(state: str, refused: bool, tmp_path: Any) -> None:
    work, dest = tmp_path / "work", tmp_path / "etc"
    for place in (work / "keys", work / "zones/external", dest / "zones/external"):
        place.mkdir(parents=True)
    (dest / "zones/external/a.example").write_text("")
    (work / "zones/external/a.example").symlink_to(dest / "zones/external/a.example")
    (work / "keys/Ka.example.+013+00001.state").write_text(state)
    assert dns_files.Work(str(work), ["zones/external/a.example"], "keys", str(dest)).refusal() == ""
    assert bool(dns_files.Work(str(work), [], "keys", str(dest)).refusal()) == refused


ZONE = dns.dns_zone_text({**GOOD, "records": [NS]})


def test_a_zone_that_says_nothing_of_it_may_be_remembered_as_long_as_the_spec_says() -> None:
    specs = yaml.safe_load((ROOT / "roles/dns/meta/argument_specs.yml").read_text(encoding="utf-8"))
    default = specs["argument_specs"]["main"]["options"]["dns_zones"]["options"]["ttl"]["default"]
    silent = {key: value for key, value in GOOD.items() if key != "ttl"}
    assert f"$TTL {default}\n" in dns.dns_zone_text(silent)


def test_a_serial_stays_while_nothing_changes() -> None:
    first = dns_files.with_serial(ZONE, None, 1000)
    assert "1000 ; serial" in first
    assert dns_files.with_serial(ZONE, first, 2000) == first


@pytest.mark.parametrize(("now", "serial"), [(2000, 2000), (1000, 1001), (5, 1001)])
def test_a_serial_grows_with_a_change_whatever_the_clock_says(now: int, serial: int) -> None:
    old = dns_files.with_serial(ZONE, None, 1000) + "hand-made IN A 10.0.0.1\n"
    assert f"{serial} ; serial" in dns_files.with_serial(ZONE, old, now)


def test_a_file_without_the_mark_is_left_alone() -> None:
    assert dns_files.with_serial("plain\n", "old\n", 5) == "plain\n"


def test_directories_come_before_what_is_in_them() -> None:
    assert dns_files.directories({"a/b/c": "", "d": "", "a/e": ""}) == ["a", "a/b"]


def test_strangers_are_found_in_owned_directories_only(tmp_path: Any) -> None:
    for name in ("zones/internal/old", "zones/internal/kept", "named.conf.local"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert dns_files.strangers(str(tmp_path), ["zones"], {"zones/internal/kept": ""}) == ["zones/internal/old"]
