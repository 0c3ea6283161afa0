"""The pure parts of the module that installs sendmail's configuration."""

from __future__ import annotations

import re

import jinja2
import jinja2.nativetypes
import pytest
import yaml
from ansible_collections.widgets.mail.plugins.modules import sendmail_config as module

from tests.unit.inventory import ROOT

COMPILED = """\
#####
##### built by root@host on Tue Nov 24 09:17:04 UTC 2026
##### in /run/sendmail-config-x
##### using /usr/share/sendmail/cf/ as configuration include directory
O HelpFile=/etc/mail/helpfile
O MaxHopCount=25
"""


def test_the_same_source_gives_the_same_file() -> None:
    assert module.reproducible(COMPILED) == "#####\nO HelpFile=/etc/mail/helpfile\nO MaxHopCount=25\n"


def test_checks_read_the_staged_maps_and_not_the_live_ones() -> None:
    assert "O HelpFile=/run/stage/helpfile\n" in module.redirected(COMPILED, "/etc/mail", "/run/stage")
    assert "/etc/mail" not in module.redirected(COMPILED, "/etc/mail/", "/run/stage/")


def test_an_option_that_did_not_arrive_is_named() -> None:
    assert module.missing_lines(COMPILED, ["O MaxHopCount=25", "O MaxHopCount=26"]) == ["O MaxHopCount=26"]


def test_a_setting_replaces_the_line_that_counts_and_leaves_the_rest() -> None:
    text = '# HANDS_OFF="No"; explained\nHANDS_OFF="No";\nA="1";\nHANDS_OFF="";\n'
    assert module.with_settings(text, ['HANDS_OFF="Yes";']) == '# HANDS_OFF="No"; explained\nA="1";\nHANDS_OFF="Yes";\n'
    assert module.with_settings("A=1", ["B=2"]) == "A=1\nB=2\n"
    assert module.with_settings("", ["B=2"]) == "B=2\n"


@pytest.mark.parametrize("hop", [{}, {"next_hop": None}, {"next_hop": ""}])
def test_a_domain_without_a_next_hop_is_the_stores_own_however_that_is_said(hop: dict[str, str | None]) -> None:
    domains = [{"name": "own.example", **hop}, {"name": "other.example", "next_hop": "10.1.0.26"}]
    facts = yaml.safe_load((ROOT / "roles/sendmail/vars/main.yml").read_text(encoding="utf-8"))
    elsewhere = (
        jinja2.nativetypes.NativeEnvironment().from_string(facts["__sendmail_elsewhere"]).render(sendmail_domains=domains)
    )
    text = (ROOT / "roles/sendmail/templates/store.mc.j2").read_text(encoding="utf-8")
    (loop,) = re.findall(r"^\{% for [^\n]*\nCw.*?^\{% endfor %\}$", text, re.MULTILINE | re.DOTALL)
    made = jinja2.Template(loop).render(sendmail_domains=domains, __sendmail_elsewhere=elsewhere)
    assert made.split() == ["Cwown.example"]
