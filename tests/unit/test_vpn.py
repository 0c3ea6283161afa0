"""Peers of a concentrator: what is refused by name, and what follows a change of a configuration."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible.plugins.filter import core
from ansible_collections.widgets.mail.plugins.filter import vpn
from ansible_collections.widgets.mail.plugins.modules import wireguard_config
from jinja2 import Environment, FileSystemLoader

from tests.unit.inventory import ROOT, lab_site

KEY_A = "B0VqhZpJED5HJQeVFzzwpTiFDgvYAp+GkLx7fG1z9XE="
KEY_B = "fcEIAFx233zMDE7nZ8fCTc2MOH3N8kvHkYC4vkNfLUk="
PEERS: list[dict[str, Any]] = [
    {"name": "roamer", "public_key": KEY_A, "addresses": ["10.1.2.20", "2001:db8:a1:200::20"], "keepalive": 25},
    {
        "name": "branch",
        "public_key": KEY_B,
        "addresses": ["10.2.0.0/24", "2001:db8:a1:201::/64"],
        "endpoint": "198.18.0.30:51820",
    },
]


@pytest.fixture
def peers() -> list[dict[str, Any]]:
    return copy.deepcopy(PEERS)


@pytest.mark.requirement("NET-9", side="positive")
def test_sound_peers_pass(peers: list[dict[str, Any]]) -> None:
    assert vpn.vpn_peer_errors(peers) == []
    assert vpn.vpn_errors(lab_site(), peers) == []
    assert vpn.vpn_errors(lab_site(), []) == []


@pytest.mark.requirement("NET-9", side="negative")
@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"public_key": ""}, ["entry 1 (roamer)", "no public_key", "wg pubkey"]),
        (0, {"public_key": None}, ["entry 1 (roamer)", "no public_key"]),
        (0, {"public_key": KEY_A[:-1]}, ["entry 1 (roamer)", "public_key", "44 characters"]),
        (0, {"public_key": "!" * 44}, ["entry 1 (roamer)", "public_key", "44 characters"]),
        (1, {"public_key": KEY_A}, ["entry 2 (branch)", KEY_A, "roamer", "keys must differ"]),
        (1, {"name": "roamer"}, ["entry 2 (roamer)", "names must differ"]),
        (1, {"name": "a\nb"}, ["entry 2", "letters, digits"]),
        (1, {"addresses": ["10.1.2.0/24"]}, ["entry 2 (branch)", "10.1.2.0/24", "10.1.2.20/32 of roamer", "must not share"]),
        (1, {"addresses": ["10.1.2.20"]}, ["entry 2 (branch)", "10.1.2.20/32 of roamer"]),
        (1, {"addresses": []}, ["entry 2 (branch)", "addresses is empty"]),
        (1, {"addresses": ["10.2.0.1/24"]}, ["entry 2 (branch)", "10.2.0.1/24", "without host bits"]),
        (1, {"addresses": ["0.0.0.0/0"]}, ["entry 2 (branch)", "0.0.0.0/0", "whole world"]),
        (1, {"endpoint": "somewhere"}, ["entry 2 (branch)", "somewhere", "address:port"]),
        (1, {"endpoint": "198.18.0.30:99999"}, ["entry 2 (branch)", "99999"]),
        (1, {"keepalive": -1}, ["entry 2 (branch)", "-1", "65535"]),
        (1, {"private_key": "x"}, ["entry 2 (branch)", "unknown key private_key"]),
        # against the zones
        (1, {"addresses": ["10.1.0.0/24"]}, ["entry 2 (branch)", "10.1.0.0/24", "overlaps site_zones.inside.network"]),
        (1, {"addresses": ["10.0.0.0/8"]}, ["overlaps site_zones.inside", "overlaps site_zones.dmz"]),
        (1, {"addresses": ["10.9.0.0/24"]}, ["entry 2 (branch)", "10.9.0.0/24", "remote (10.1.2.0/24, 2001:db8:a1:200::/64)"]),
        (1, {"addresses": ["2001:db8:a1:200::20"]}, ["entry 2 (branch)", "2001:db8:a1:200::20/128 of roamer"]),
        (1, {"addresses": ["::/0"]}, ["entry 2 (branch)", "::/0", "whole world"]),
        (1, {"addresses": ["2001:db8:a1:100::/64"]}, ["overlaps site_zones.inside.network6 2001:db8:a1:100::/64"]),
        (1, {"addresses": ["2001:db8:9::/64"]}, ["2001:db8:9::/64", "branch-office (10.2.0.0/24, 2001:db8:a1:201::/64)"]),
    ],
)
def test_a_wrong_peer_is_refused_by_name(
    number: int, change: dict[str, Any], words: list[str], peers: list[dict[str, Any]]
) -> None:
    peers[number] |= change
    errors = " ".join(vpn.vpn_errors(lab_site(), peers))
    assert [word for word in words if word not in errors] == []


def test_a_concentrator_gets_the_peers_and_networks_of_its_own_tunnels(peers: list[dict[str, Any]]) -> None:
    site = copy.deepcopy(lab_site())
    assert vpn.vpn_peers(site, peers, "vpn") == peers
    networks = [["10.1.2.0/24", "2001:db8:a1:200::/64"], ["10.2.0.0/24", "2001:db8:a1:201::/64"]]
    assert vpn.vpn_networks(site, "vpn") == [*networks[0], *networks[1]]
    site["zones"]["remote"]["tunnel"] = "fw"
    assert [peer["name"] for peer in vpn.vpn_peers(site, peers, "vpn")] == ["branch"]
    assert vpn.vpn_networks(site, "fw") == networks[0]


OLD = "# a\n[Interface]\nPrivateKey = k\nListenPort = 1\nAddress = 10.0.0.1/24\n\n# x\n[Peer]\nPublicKey = p\n"


@pytest.mark.parametrize(
    ("new", "apply"),
    [
        (OLD, "nothing"),
        (OLD + "\n[Peer]\nPublicKey = q\n", "reload"),
        (OLD.replace("Port = 1", "Port = 2"), "reload"),
        (OLD.replace("= k", "= l"), "reload"),
        (OLD.replace("# a", "# b"), "reload"),
        (OLD.replace("10.0.0.1", "10.0.0.2"), "restart"),
    ],
)
def test_only_the_interface_itself_takes_a_restart(new: str, apply: str) -> None:
    assert wireguard_config.what_follows(OLD, new) == apply
    assert wireguard_config.what_follows(None, new) == "start"


def test_no_diff_holds_a_private_key() -> None:
    assert (
        wireguard_config.hidden("[Interface]\n privatekey=abc=\nX = 1\n") == "[Interface]\n privatekey=@PRIVATE_KEY@\nX = 1\n"
    )


# -- interfaces of former runs ---------------------------------------------------------------------------------------

MARK = "by the role probe"
FORMER = f"# Managed {MARK}.\n[Interface]\nPrivateKey = secret\n"
NEW = f"# Managed {MARK}.\n[Interface]\nPrivateKey = @PRIVATE_KEY@\n"


class Host:
    """A host's /etc/wireguard, what its programs answer, and what of its files was there when they were called."""

    def __init__(self, place: Path) -> None:
        self.place, self.links, self.refused = place / "wireguard", place / "net", ""
        self.route = ""
        self.ran: list[tuple[str, list[str]]] = []
        self.place.mkdir()
        self.links.mkdir()
        for name, text in {"wg0": FORMER, "mine": "[Interface]\nPrivateKey = mine\n", "wg1": NEW.replace("@P", "@Q")}.items():
            (self.place / f"{name}.conf").write_text(text)
        (self.place / "wg0.key").write_text("secret\n")
        (self.place / "wg1.key").write_text("other\n")
        (self.place / "wg1.pub").write_text("public\n")

    def there(self) -> list[str]:
        """The configurations."""
        return sorted(path.stem for path in self.place.glob("*.conf"))

    def run_command(self, _module: Any, argv: list[str], **_: Any) -> tuple[int, str, str]:
        """What a program answers."""
        self.ran.append((" ".join(argv), self.there()))
        if argv[:2] == ["wg-quick", "down"]:
            (self.links / argv[2]).unlink()
        if argv[:4] == ["ip", "-o", "route", "get"]:
            return 0, f"{argv[4]} {self.route} src 192.0.2.1 uid 0", ""
        wrong = bool(self.refused) and self.refused in argv
        return int(wrong), "public\n" if argv == ["wg", "pubkey"] else "", "no bus" if wrong else ""

    def acted(self) -> list[tuple[str, list[str]]]:
        """What was done to units and links."""
        return [(argv, there) for argv, there in self.ran if "systemctl" in argv or "down" in argv]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(wireguard_config, "DIRECTORY", str(made.place))
    monkeypatch.setattr(wireguard_config, "LINKS", str(made.links), raising=False)
    monkeypatch.setattr(wireguard_config, "loose", lambda _path, _mode: False)
    monkeypatch.setattr(AnsibleModule, "run_command", lambda module, argv, **more: made.run_command(module, argv, **more))
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda _module, name: name)
    return made


def configured(capsys: Any, check: bool = False, **more: Any) -> dict[str, Any]:
    """The module's answer."""
    arguments = {"interface": "wg1", "content": NEW, "mark": MARK, "_ansible_check_mode": check, **more}
    with patch_module_args({key: value for key, value in arguments.items() if value is not None}), pytest.raises(SystemExit):
        wireguard_config.main()
    said = capsys.readouterr().out
    assert "secret" not in said
    answer: dict[str, Any] = json.loads(said)
    return answer


def test_an_interface_of_a_former_name_is_stopped_before_its_configuration_goes(capsys: Any, host: Host) -> None:
    predicted = configured(capsys, check=True)
    assert predicted["gone"] == ["wg0"] and predicted["changed"] and host.acted() == []
    assert predicted["diff"][-1] == {
        "before": FORMER.replace("secret", "@PRIVATE_KEY@"),
        "after": "",
        "before_header": str(host.place / "wg0.conf"),
        "after_header": "(absent)",
    }
    done = configured(capsys)
    assert done == predicted | {"invocation": done["invocation"]}
    assert host.acted() == [("systemctl disable --now -- wg-quick@wg0.service", ["mine", "wg0", "wg1"])]
    assert host.there() == ["mine", "wg1"] and (host.place / "wg0.key").exists()
    assert configured(capsys)["changed"] is False


def test_what_somebody_has_brought_up_by_hand_goes_down_as_well(capsys: Any, host: Host) -> None:
    (host.links / "wg0").touch()
    configured(capsys)
    assert [argv for argv, _there in host.acted()][1:] == ["wg-quick down wg0"] and host.there() == ["mine", "wg1"]


def test_an_interface_that_cannot_be_stopped_keeps_its_configuration(capsys: Any, host: Host) -> None:
    host.refused = "disable"
    answer = configured(capsys)
    assert answer["failed"] and "wg-quick@wg0.service" in answer["msg"] and "no bus" in answer["msg"]
    assert host.there() == ["mine", "wg0", "wg1"]


def test_where_the_new_configuration_is_not_sound_the_former_interface_stays_up(capsys: Any, host: Host) -> None:
    host.refused = "strip"
    assert configured(capsys)["failed"] and host.acted() == [] and host.there() == ["mine", "wg0", "wg1"]


@pytest.mark.parametrize("more", [{"mark": None}, {"content": None}])
def test_no_interface_goes_without_a_mark_or_where_only_the_key_is_made(capsys: Any, host: Host, more: dict[str, Any]) -> None:
    assert configured(capsys, **more)["gone"] == [] and host.there() == ["mine", "wg0", "wg1"]


@pytest.mark.parametrize("check", [True, False])
def test_a_run_that_comes_in_by_way_of_the_former_interface_is_refused_and_changes_nothing(
    capsys: Any, host: Host, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.7 50000 192.0.2.1 22")
    host.route = "dev wg0"
    answer = configured(capsys, check, content=f"{NEW}ListenPort = 1\n")
    assert answer["failed"] and "wg0" in answer["msg"] and "comes in by way of it" in answer["msg"]
    assert host.acted() == [] and host.there() == ["mine", "wg0", "wg1"]
    assert "ListenPort" not in (host.place / "wg1.conf").read_text()
    host.route = "via 192.0.2.254 dev eth0"
    assert configured(capsys, check)["gone"] == ["wg0"]


def test_a_mark_that_all_files_hold_is_refused(capsys: Any, host: Host) -> None:
    assert "mark" in configured(capsys, mark=" ")["msg"] and host.there() == ["mine", "wg0", "wg1"]


def test_the_files_of_the_role_hold_the_marks_that_it_finds_them_by() -> None:
    facts = yaml.safe_load((ROOT / "roles/vpn/vars/main.yml").read_text(encoding="utf-8"))
    environment = Environment(loader=FileSystemLoader(ROOT / "roles/vpn/templates"))
    environment.filters = {**core.FilterModule().filters(), **environment.filters}
    for template, mark in (("wg.conf.j2", facts["__vpn_mark"]), ("sandbox.conf.j2", facts["__vpn_sandboxes"][0]["mark"])):
        text = environment.get_template(template).render(ansible_managed="Ansible managed")
        assert mark in text.splitlines()[0]
