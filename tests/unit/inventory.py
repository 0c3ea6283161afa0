"""The inventories as unit tests see them: the plain data of group_vars, no Ansible needed."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KEYS = ("B0VqhZpJED5HJQeVFzzwpTiFDgvYAp+GkLx7fG1z9XE=", "fcEIAFx233zMDE7nZ8fCTc2MOH3N8kvHkYC4vkNfLUk=")
# Certificates as far as the checks of an inventory look at them.
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
BOTH = f"-----BEGIN PRIVATE KEY-----\nTUlH\n-----END PRIVATE KEY-----\n{CERTIFICATE}"


@cache
def variables(inventory: str) -> dict[str, Any]:
    """All group variables of an inventory, unrendered."""
    out: dict[str, Any] = {}
    for path in sorted((ROOT / "inventories" / inventory / "group_vars/all").glob("*.yml")):
        out.update(yaml.safe_load(path.read_text()))
    return out


def site_of(inventory: str) -> dict[str, Any]:
    """The site dict that playbooks/group_vars/site.yml builds."""
    keys = ("zones", "hosts", "services", "flows", "pat", "domain", "domains")
    return {key: variables(inventory).get(f"site_{key}", {}) for key in keys}


def made_by_the_lab(place: Path) -> None:
    """Stand-ins, below a copy of the tree, for the keys and certificates that the lab makes before its hosts."""
    certificates = {"authority": CERTIFICATE, "smtp1.both": BOTH, "mail.both": BOTH}
    for name, text in [
        *((f"certificates/{name}.pem", text) for name, text in certificates.items()),
        *((f"keys/{name}.pub", key) for name, key in zip(("roamer", "branch"), KEYS, strict=True)),
    ]:
        path = place / ".lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def lab_variables() -> dict[str, Any]:
    """All group variables of the lab, unrendered."""
    return variables("lab")


def lab_site() -> dict[str, Any]:
    """The lab's site dict."""
    return site_of("lab")


def lab_site4() -> dict[str, Any]:
    """The same of a site that has no IPv6."""
    site = copy.deepcopy(lab_site())
    for zone in site["zones"].values():
        zone.pop("network6", None)
    for host in site["hosts"].values():
        for link in host["interfaces"].values():
            link.pop("address6", None)
    return site
