"""What a role's leave has in common with every other: whose it is, what has to stay, and by which way the host is reached."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.widgets.mail.plugins.lookup.role_packages import of_every_role
from ansible_collections.widgets.mail.plugins.plugin_utils.fresh_connection import get_in_again
from ansible_collections.widgets.mail.plugins.plugin_utils.role_files import ROLES, load


def configured(need: dict[str, Any]) -> dict[str, Any]:
    """What needs a role, with the file that it says so in: where none is named, the configuration of the role that needs it."""
    if "path" in need:
        return need
    role = need["role"]
    path = ROLES / role / "vars" / "main.yml"
    name = f"__{role}_configuration"
    found = load(path).get(name) if path.is_file() else None
    if not found:
        raise AnsibleActionFail(f"needed_by: the role {role} has no {name} in its variables: name a path.")
    return {**need, "path": found}


class ActionModule(ActionBase):
    """The module of this name, with what the play knows filled in."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = dict(self._task.args)
        role = given.setdefault("role", task_vars.get("role_name"))
        if role is None:
            raise AnsibleActionFail("This takes a role away, and has to be a task of one.")
        for option, variable in (("keep_packages", "put_back_keep"), ("going", "put_back_going"), ("look", "put_back_look")):
            if variable in task_vars:
                given.setdefault(option, self._templar.template(task_vars[variable]))
        given.setdefault("way", self._connection.transport)
        release = (task_vars.get("ansible_facts") or {}).get("distribution_major_version")
        given.setdefault("packages_of", of_every_role(str(release)) if release else {})
        if "needed_by" in given:
            given["needed_by"] = [configured(need) for need in given["needed_by"]]
        result.update(self._execute_module(module_name="widgets.mail.put_back", module_args=given, task_vars=task_vars))
        if not result.get("failed") and result.get("confirm"):
            result.update(self.confirmed(given, task_vars))
        return result

    def confirmed(self, given: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        """Nothing where somebody gets in without the role, else the result of a task that has failed."""
        back = given["rollback"]
        way_in = get_in_again(self, task_vars, int(back["seconds"]))
        if way_in.get("failed"):
            return way_in
        stay = {"role": given["role"], "confirm": back["name"]}
        said = self._execute_module(module_name="widgets.mail.put_back", module_args=stay, task_vars=task_vars)
        return said if said.get("failed") else {}
