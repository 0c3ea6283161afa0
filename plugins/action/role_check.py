"""A role's own look at its variables, on the machine that Ansible runs on; then a note of how the host is, before it changes."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleActionSkip
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader


class ActionModule(ActionBase):
    """The action itself: it asks the lookup, and has the module before_note run on the host."""

    TRANSFERS_FILES = False
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Fail with what is wrong with the variables of the role that the task is in."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if boolean(self._templar.template(task_vars.get("role_check_done", False))):
            raise AnsibleActionSkip("All roles were checked before the first one.")
        role = task_vars.get("role_name")
        if role is None:
            raise AnsibleActionFail("This checks the variables of a role, and has to be a task of one.")
        lookup = lookup_loader.get("widgets.mail.role_errors", loader=self._loader, templar=self._templar)
        errors = lookup.run([role], variables=task_vars)
        if errors:
            raise AnsibleActionFail(" ".join(errors))
        result.update(
            self._execute_module(module_name="widgets.mail.before_note", module_args={"roles": [role]}, task_vars=task_vars)
        )
        return result
