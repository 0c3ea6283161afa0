"""What `make bench-converge` makes of an inventory and of what it measured."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml

from tests import pages
from tests.unit.inventory import ROOT
from tools import bench_converge


def test_more_gateways_are_added_to_a_copy_of_the_inventory(tmp_path: Path) -> None:
    hosts = ["one", "two"]
    copy = pages.copy_of(ROOT / "inventories/lab", tmp_path, bench_converge.edits(hosts, "dmz", "10.1.1", "203.0.113"))
    site = yaml.safe_load((copy / "group_vars/all/site.yml").read_text(encoding="utf-8"))
    groups = yaml.safe_load((copy / "hosts.yml").read_text(encoding="utf-8"))["all"]["children"]["site"]["children"]
    assert set(hosts) < set(groups["gateways"]["hosts"])
    links = [site["site_hosts"][host]["interfaces"]["dmz"] for host in hosts]
    assert all(ipaddress.ip_address(link["address"]) in ipaddress.ip_network("10.1.1.0/24") for link in links)
    assert len({link["mac"] for link in links}) == len(hosts)
    assert len({flow["id"] for flow in site["site_flows"]}) == len(site["site_flows"])


def test_a_script_copies_what_a_converge_wrote_and_not_what_the_engine_did() -> None:
    diff = "C /etc\nA /etc/mail/sendmail.cf\nC /etc/hosts\nD /etc/inetd.conf\nA /usr/bin/mawk\nA /usr/local/sbin/x y\n"
    assert bench_converge.copied(diff) == ["/etc/mail/sendmail.cf", "/usr/local/sbin/x y"]


@pytest.mark.parametrize(("units", "last"), [(["a.service", "b.timer"], "systemctl restart a.service b.timer"), ([], ":")])
def test_a_script_ends_with_the_services(units: list[str], last: str) -> None:
    assert bench_converge.script(["sendmail-bin"], [], units).splitlines()[-1] == last


def test_the_page_tells_what_a_host_costs_and_what_the_script_took() -> None:
    found = {1: {"first": 60.0, "unchanged": 8.0, "change": 12.0}, 2: {"first": 90.0, "unchanged": 12.0, "change": 15.0}}
    page = bench_converge.page(found, (40.0, {"packages": 5, "files": 7, "services": 2}), 9.0)
    assert "| 2 | 90 s | 12.0 s | 15.0 s | 6.0 s |" in page and "is 1.50 of that" in page
