"""Audits an SSH server with ssh-audit, and holds it against its hardened policy for a release. Runs in the scanners' image.

    ssh.py ADDRESS PORT "Hardened Debian 12"      prints JSON: the audit, and the policy's result

The policy's lists are ssh-audit's own. Built in, it asks for exactly these, in this order; here a server may do with fewer.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ssh_audit.builtin_policies import BUILTIN_POLICIES

PROGRAM = Path(sys.executable).with_name("ssh-audit")


def policy(name: str) -> str:
    """The newest version of a policy, as a policy file."""
    title = max(title for title in BUILTIN_POLICIES if title.startswith(f"{name} (version "))
    built_in = BUILTIN_POLICIES[title]
    lists = {
        "host keys": built_in["host_keys"],
        "optional host keys": built_in["optional_host_keys"],
        "key exchanges": built_in["kex"],
        "ciphers": built_in["ciphers"],
        "macs": built_in["macs"],
    }
    lines = [
        f'name = "{name}, or stricter"',
        f"version = {built_in['version']}",
        "allow_algorithm_subset_and_reordering = true",
    ]
    return "\n".join([*lines, *(f"{key} = {', '.join(values)}" for key, values in lists.items())]) + "\n"


def ask(*options: str) -> dict[str, object]:
    """One run of ssh-audit. It ends with 2 or 3 where it found something, with 1 where it reached nobody."""
    done = subprocess.run([PROGRAM, "--json", "--skip-rate-test", *options], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2, 3):
        sys.exit(f"ssh-audit ended with {done.returncode}: {done.stdout}{done.stderr}")
    out: dict[str, object] = json.loads(done.stdout)
    return out


def main() -> int:
    """Audit what the arguments name."""
    address, port, name = sys.argv[1:]
    path = Path("/tmp/policy.txt")
    path.write_text(policy(name), encoding="utf-8")
    print(json.dumps({"audit": ask("--port", port, address), "policy": ask("--port", port, "--policy", str(path), address)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
