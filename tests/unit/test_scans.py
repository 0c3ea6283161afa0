"""What scanners print, made findings and scores, and what the data file makes of them. The samples in data/audit are parts of
recordings from the lab, before anything was fixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import scans
from tools.scans import Entry, Kind, Limit, Scan

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(__file__).parent / "data/audit"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def lynis() -> Scan:
    return scans.lynis("h", sample("lynis.dat"), sample("lynis.log"))


# -- the data file ---------------------------------------------------------------------------------------------------


def test_the_projects_own_data_file_is_sound() -> None:
    data = yaml.safe_load((ROOT / "lab/audit.yml").read_text(encoding="utf-8"))
    assert scans.entries(data)[1] == []
    assert scans.limits(data["exposure"])[1] == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"names": ["a"]}, "it has no reason"),
        ({"names": ["a"], "reason": "  "}, "it has no reason"),
        ({"reason": "r"}, "it names nothing"),
        ({"names": ["a"], "reason": "r", "where": "lab"}, "where is lab"),
        ({"names": ["a"], "reason": "r", "host": "x"}, "the key host is unknown"),
        ({"names": ["known"], "reason": "r"}, "known stands there twice"),
    ],
)
def test_an_entry_that_says_too_little_is_told_of(row: dict[str, Any], said: str) -> None:
    known = {"names": ["known"], "reason": "r"}
    _, wrong = scans.entries({"excluded": {"lynis": [known, row]}})
    assert len(wrong) == 1 and said in wrong[0]
    assert scans.entries({"excluded": {"lynis": [known]}})[1] == []


def test_an_entry_for_a_scanner_that_is_none_is_told_of() -> None:
    assert "nessus is unknown" in scans.entries({"accepted": {"nessus": []}})[1][0]


def kind(container: bool, *groups: str, release: str = "12") -> Kind:
    return Kind(container, frozenset(groups), release)


def test_an_entry_for_containers_says_nothing_on_a_machine_and_one_for_a_group_or_a_release_nothing_elsewhere() -> None:
    in_container = Entry("lynis", ("a",), "r", where="container")
    assert in_container.applies(kind(True, "x")) and not in_container.applies(kind(False, "x"))
    of_group = Entry("lynis", ("a",), "r", groups=("gateways",))
    assert of_group.applies(kind(False, "gateways", "site")) and not of_group.applies(kind(True, "stores"))
    of_release = Entry("lynis", ("a",), "r", release="13")
    assert of_release.applies(kind(False, release="13")) and not of_release.applies(kind(False))


# -- scores and judgement --------------------------------------------------------------------------------------------


def test_what_is_left_out_is_left_out_of_both_sides_of_a_score() -> None:
    points = {"good": (3, 4), "bad": (0, 4)}
    assert scans.score(points) == 37.5
    assert scans.score(points, ["bad"]) == 75
    with pytest.raises(scans.ScanError):
        scans.score(points, ["bad", "good"])


def test_findings_are_left_out_or_left_in_with_a_reason_or_open() -> None:
    scan = Scan("openscap", "h", {"a": "A", "b": "B", "c": "C"}, {"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (1, 1)})
    out, kept = Entry("openscap", ("a",), "r", where="container"), Entry("openscap", ("b",), "r", counts=True)
    other = Entry("lynis", ("c",), "of another scanner")
    judged = scans.judge(scan, [out, kept, other], kind(True))
    assert (judged.excluded, judged.accepted, judged.open) == ({"a": out}, {"b": kept}, {"c": "C"})
    assert judged.bare == 25 and round(judged.score, 1) == 33.3
    assert "a" in scans.judge(scan, [out, kept], kind(False)).open


def test_a_name_that_nothing_was_found_for_is_stale_where_the_entry_speaks() -> None:
    scan = Scan("lynis", "gate", {"a": "A"})
    hosts = {"gate": kind(True, "gateways"), "store": kind(True, "stores")}
    assert scans.stale([Entry("lynis", ("a",), "r")], [scan], hosts) == []
    assert scans.stale([Entry("lynis", ("a", "b"), "r")], [scan], hosts) == ["lynis: b is stale: nothing was found for it"]
    assert scans.stale([Entry("lynis", ("a",), "r", groups=("stores",))], [scan], hosts) != []
    # Nothing can be said of machines where there are only containers, of another release, and of a scanner that did not run.
    assert scans.stale([Entry("openscap", ("a",), "r")], [scan], hosts) == []
    assert scans.stale([Entry("lynis", ("b",), "r", where="container")], [scan], {"gate": kind(False)}) == []
    assert scans.stale([Entry("lynis", ("b",), "r", release="13")], [scan], hosts) == []


# -- Lynis -----------------------------------------------------------------------------------------------------------


def test_points_of_lynis_add_up_to_its_own_index() -> None:
    scan = lynis()
    assert scan.points["FILE-6310"] == (28, 30)
    assert sum(got for got, _ in scan.points.values()) == 32
    assert int(scans.score(scan.points)) == 78


def test_a_kernel_setting_has_a_name_of_its_own_and_what_holds_is_no_finding() -> None:
    found = lynis().findings
    assert found["KRNL-6000:fs.protected_fifos"] == "0 of 1 points"
    assert "KRNL-6000:fs.protected_hardlinks" not in found and "KRNL-6000" not in found


def test_what_lynis_suggests_and_where_points_are_lost_is_found() -> None:
    found = lynis().findings
    assert found["DEB-0280"] == "Install libpam-tmpdir to set $TMP and $TMPDIR for PAM sessions; 0 of 2 points"
    assert found["SSH-7408"].startswith("Consider hardening SSH configuration (MaxSessions (set 4 to 2)); ")
    assert "HRDN-7220" not in found


def test_a_scan_of_lynis_that_did_not_end_or_is_read_wrongly_is_no_result() -> None:
    with pytest.raises(scans.ScanError, match="did not end"):
        scans.lynis("h", "lynis_version=3", sample("lynis.log"))
    with pytest.raises(scans.ScanError, match="read wrongly"):
        scans.lynis("h", "hardening_index=90", sample("lynis.log"))


# -- OpenSCAP --------------------------------------------------------------------------------------------------------


def test_rules_of_openscap_that_were_not_checked_count_for_nothing() -> None:
    scan = scans.openscap("h", sample("oscap.xml"))
    assert scan.points == {
        "partition_for_var": (0, 1),
        "sshd_disable_root_login": (0, 1),
        "file_permissions_etc_shadow": (1, 1),
    }
    assert scan.findings == {
        "partition_for_var": "Ensure /var Located On Separate Partition",
        "sshd_disable_root_login": "Disable SSH Root Login",
    }


def test_a_rule_that_ended_in_an_error_is_a_finding() -> None:
    scan = scans.openscap("h", sample("oscap.xml").replace("<result>pass<", "<result>error<"))
    assert scan.findings["file_permissions_etc_shadow"].endswith("(error)")


def test_results_without_a_checked_rule_are_none() -> None:
    with pytest.raises(scans.ScanError):
        scans.openscap(
            "h", sample("oscap.xml").replace("<result>pass<", "<result>notchecked<").replace(">fail<", ">notapplicable<")
        )


# -- SSH -------------------------------------------------------------------------------------------------------------


def test_where_a_server_leaves_the_policy_is_found() -> None:
    scan = scans.ssh_audit("h", sample("ssh.json"))
    assert list(scan.findings) == ["policy:Key exchanges"]
    assert scan.findings["policy:Key exchanges"].startswith("sntrup761x25519-sha512@openssh.com, kex-strict")


def test_fails_and_warnings_of_algorithms_are_found() -> None:
    data = json.loads(sample("ssh.json"))
    data["policy"] |= {"passed": True, "errors": []}
    assert scans.ssh_audit("h", json.dumps(data)).findings == {}
    data["audit"]["mac"][0]["notes"]["warn"] = ["too small", "too old"]
    data["audit"]["cves"] = [{"name": "CVE-1", "description": "bad"}]
    assert scans.ssh_audit("h", json.dumps(data)).findings == {
        "warn:hmac-sha2-512-etm@openssh.com": "too small; too old",
        "fail:CVE-1": "bad",
    }


def test_a_server_that_was_not_reached_is_no_result() -> None:
    data = json.loads(sample("ssh.json"))
    data["audit"] |= {kind: [] for kind in ("kex", "key", "enc", "mac")}
    with pytest.raises(scans.ScanError):
        scans.ssh_audit("h", json.dumps(data))


# -- TLS and SMTP ----------------------------------------------------------------------------------------------------


def test_issues_of_a_tls_port_are_named_after_it() -> None:
    scan = scans.tls("h", sample("tls.json"))
    assert scan.ports == [995]
    assert set(scan.findings) == {
        f"995:{name}" for name in ("certificate_path_validation", "ciphers", "maximum_certificate_lifespan", "tls_curves")
    }


def test_a_port_without_tls_is_none_and_one_that_could_not_be_scanned_is_a_finding() -> None:
    none = {"speaks_tls": False, "issues": {}, "error": ""}
    failed = {"speaks_tls": True, "issues": {}, "error": "no answer"}
    scan = scans.tls("h", json.dumps({"10.0.0.1:25": none, "10.0.0.1:995": failed}))
    assert (scan.ports, scan.findings) == ([995], {"995:not scanned": "no answer"})


EXPECTED = {
    "smtp-open-relay": "^Server doesn't seem to be an open relay",
    "smtp-commands": "^(?!.*VRFY)",
    "smtp-vuln-cve2010-4344": "NOT VULNERABLE",
    "smtp-enum-users": "^Couldn't find any accounts",
}


def test_scripts_that_say_what_is_expected_find_nothing() -> None:
    assert scans.nmap("h", sample("nmap.xml"), EXPECTED).findings == {}


def test_scripts_that_say_something_else_or_nothing_or_are_not_spoken_of_find_something() -> None:
    relay = (
        sample("nmap.xml")
        .replace("seem to be an open relay, all tests failed", "refuse: 3 of 16 tests")
        .replace("ENHANCED", "VRFY, ENHANCED")
    )
    assert set(scans.nmap("h", relay, EXPECTED).findings) == {"smtp-open-relay", "smtp-commands"}
    assert scans.nmap("h", sample("nmap.xml"), {**EXPECTED, "smtp-more": "x"}).findings == {"smtp-more": "it said nothing"}
    less = {name: pattern for name, pattern in EXPECTED.items() if name != "smtp-commands"}
    assert set(scans.nmap("h", sample("nmap.xml"), less).findings) == {"smtp-commands"}


def test_a_closed_port_is_no_result() -> None:
    with pytest.raises(scans.ScanError):
        scans.nmap("h", sample("nmap.xml").replace('state="open"', 'state="filtered"'), EXPECTED)


# -- units -----------------------------------------------------------------------------------------------------------


def test_a_limit_above_the_aim_or_none_at_all_needs_a_reason() -> None:
    rows: list[dict[str, Any]] = [{"unit": "a", "limit": 2}, {"unit": "b", "limit": 2, "aim": 1}, {"unit": "c"}]
    assert [line.split()[1] for line in scans.limits(rows)[1]] == ["b:", "c:"]
    assert scans.limits([{**row, "reason": "r"} for row in rows])[1] == []


def test_units_above_their_limit_unknown_ones_and_stale_limits_are_told_of() -> None:
    listed = [
        Limit("a.service", 2.0),
        Limit("b.service", None, "r"),
        Limit("gone.service", 1.0),
        Limit("late.service", None, "r", "13"),
        Limit("again.service", None, "r", rebooted=True),
    ]
    found = {"h": scans.exposures("a.service 2.1\nb.service 9.6\nnew.service 9.6\n")}
    wrong = scans.exposed(listed, found, {"12"})
    assert len(wrong) == 3
    assert scans.exposed(listed, found, {"12", "13"}) == [*wrong, "exposure: late.service is stale: it runs on no host"]
    assert (
        "a.service is exposed by 2.1, at most 2.0" in wrong[0]
        and "new.service" in wrong[1]
        and "gone.service is stale" in wrong[2]
    )


def test_a_host_without_units_was_not_measured() -> None:
    for said in ("", "a.service", "a.service 1.5\nb.service "):
        with pytest.raises(scans.ScanError, match="measured"):
            scans.exposures(said)


# -- the page --------------------------------------------------------------------------------------------------------


def test_a_run_renews_the_section_of_its_release_and_leaves_the_others() -> None:
    first = scans.merged("# Page\n", "", "## Debian 13\n\nold", "## Why\n\nbecause")
    both = scans.merged("# Page\n", first, "## Debian 12\n\nnew", "## Why\n\nstill")
    assert both == "# Page\n\n## Debian 12\n\nnew\n\n## Debian 13\n\nold\n\n## Why\n\nstill\n"
    assert scans.merged("# Page\n", both, "## Debian 13\n\nnewer", "## Why\n\nstill") == both.replace("old", "newer")
