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

import re
from typing import NamedTuple

from ansible.module_utils.basic import AnsibleModule

NAME = re.compile(r"^[A-Za-z0-9:_.@\\-]+\.(service|socket|timer|path|mount|automount|target)$")
RUNNING = {"active", "activating", "reloading"}
# Of what `systemctl is-enabled` approves: enabled until the next boot only, or by another name.
NOT_QUITE = {"enabled-runtime", "indirect", "alias"}
VERBS = {"restarted": "restart", "reloaded": "reload"}


class State(NamedTuple):
    """What a unit is like; one that does not exist is neither."""

    exists: bool
    masked: bool
    enabled: bool
    active: bool

    def __str__(self) -> str:
        if not self.exists:
            return "absent"
        boot = "masked" if self.masked else "enabled" if self.enabled else "disabled"
        return f"{boot}, {'active' if self.active else 'inactive'}"


ABSENT = State(False, False, False, False)


def state_of(shown: str, said: str, status: int) -> State:
    """A unit's state, of what `systemctl show` and `systemctl is-enabled` print."""
    shows = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    load, active = shows.get("LoadState", "not-found"), shows.get("ActiveState", "") in RUNNING
    if load == "not-found" and not active:
        return ABSENT
    enabled = status == 0 and said.strip() not in NOT_QUITE
    return State(True, load == "masked", enabled, active)


def steps(state: State, wanted: str) -> tuple[list[str], str]:
    """The commands of systemctl that a unit needs, and how it is afterwards."""
    if wanted == "stopped":
        return (["stop"], str(state._replace(active=False))) if state.active else ([], str(state))
    if wanted == "started":
        needed = {"unmask": state.masked, "enable": not state.enabled, "start": not state.active}
        return [verb for verb, needs in needed.items() if needs], str(State(True, False, True, True))
    return [VERBS[wanted] if state.active else "start"], f"{wanted}"


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
    wrong = [name for name in names if not NAME.match(name)]
    if wrong:
        module.fail_json(msg=f"names: these are no names of units with their suffix: {', '.join(wrong)}")
    if module.params["daemon_reload"] and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
    changes: list[str] = []
    diff = {"before": "", "after": ""}
    for name in names:
        _status, shown, _err = module.run_command(["systemctl", "show", "--property=LoadState,ActiveState", "--", name])
        status, said, _err = module.run_command(["systemctl", "is-enabled", "--", name])
        state = state_of(shown, said, status)
        if not state.exists and wanted != "stopped" and not module.check_mode:
            module.fail_json(msg=f"There is no unit {name} on this host.", changes=changes, changed=bool(changes))
        verbs, after = steps(state, wanted)
        if not verbs:
            continue
        changes.append(name)
        diff["before"] += f"{name}: {state}\n"
        diff["after"] += f"{name}: {after}\n"
        for verb in verbs if not module.check_mode else []:
            status, said, err = module.run_command(["systemctl", verb, "--", name])
            if status != 0:
                module.fail_json(msg=f"systemctl {verb} {name}: {(err or said).strip()}", changes=changes, changed=True)
    module.exit_json(changed=bool(changes), changes=changes, diff=diff)


if __name__ == "__main__":
    main()
