#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Services as they should be, several in one step, told truly before their packages are there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Enable and start a list of systemd units, or restart, reload or stop them
version_added: 0.1.0
description:
  - Reads the state of all units, then does what is missing, in the order of the list.
  - In check mode a unit that the host does not have yet counts as one that will be enabled and started, since its package or its file
    would have come before. M(ansible.builtin.systemd_service) fails there, so that nothing could be foretold of a bare host.
  - A unit that systemd has passed over, since the machine is none that it is for (C(ConditionVirtualization) and others of that kind),
    is not started again each time.
  - Shows what changes as a diff.
author: The widgets.mail developers (@widgets)
options:
  names:
    description: Units with their suffix, such as C(named.service).
    type: list
    elements: str
    required: true
  state:
    description:
      - V(started) starts and enables what is not. V(restarted) and V(reloaded) do so always, and start what does not run; V(stopped)
        stops what does.
      - V(restarted), V(reloaded) and V(stopped) leave alone what happens at boot.
    type: str
    choices: [started, restarted, reloaded, stopped]
    default: started
  daemon_reload:
    description: Have systemd read its files first.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Tells what would be done, on a bare host too.
  diff_mode:
    support: full
    description: One line for each unit that changes.
"""

EXAMPLES = r"""
- name: Run the service, now and after each boot
  widgets.mail.units:
    names: [named.service]
"""

RETURN = r"""
changes:
  description: Units that were changed, or would be.
  returned: always
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.widgets.mail.plugins.module_utils.unit_states import State, misnamed, state

VERBS = {"restarted": "restart", "reloaded": "reload"}


def steps(have: State, wanted: str) -> tuple[list[str], str]:
    """The commands of systemctl that a unit needs, and how it is afterwards."""
    if wanted == "stopped":
        return (["stop"], str(have._replace(active=False))) if have.active else ([], str(have))
    if wanted == "started":
        needed = {"unmask": have.masked, "enable": not have.enabled, "start": not (have.active or have.elsewhere)}
        return [verb for verb, needs in needed.items() if needs], str(State(True, False, True, True))
    return [VERBS[wanted] if have.active else "start"], f"{wanted}"


def main() -> None:
    """Read, then act."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "restarted", "reloaded", "stopped"], "default": "started"},
            "daemon_reload": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    names, wanted = module.params["names"], module.params["state"]
    wrong = misnamed(names)
    if wrong:
        module.fail_json(msg=f"names: {wrong}")
    if module.params["daemon_reload"] and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    changes: list[str] = []
    diff = {"before": "", "after": ""}
    for name in names:
        have = state(module.run_command, name)
        if not have.exists and wanted != "stopped" and not module.check_mode:
            module.fail_json(msg=f"There is no unit {name} on this host.", changes=changes, changed=bool(changes))
        verbs, after = steps(have, wanted)
        if not verbs:
            continue
        changes.append(name)
        diff["before"] += f"{name}: {have}\n"
        diff["after"] += f"{name}: {after}\n"
        for verb in verbs if not module.check_mode else []:
            status, said, err = module.run_command(["systemctl", verb, "--", name])
            if status != 0:
                module.fail_json(msg=f"systemctl {verb} {name}: {(err or said).strip()}", changes=changes, changed=True)
    module.exit_json(changed=bool(changes), changes=changes, diff=diff)


if __name__ == "__main__":
    main()
