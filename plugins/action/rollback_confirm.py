"""The operator gets in again, or does not: only then is it said on the host that what was changed may stay."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.widgets.mail.plugins.plugin_utils.fresh_connection import get_in_again


class ActionModule(ActionBase):
    """The module of this name, over a connection that was made for it."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Get in again, then run the module; without a rollback the next task shows whether there still is a way in."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        seconds = int(self._task.args["seconds"])
        if seconds == 0:
            self._connection.reset()
            return {**result, "changed": False}
        result.update(get_in_again(self, task_vars, seconds))
        if result.get("failed"):
            return result
        result.pop("skipped", None)  # in check mode nobody waits
        result.update(self._execute_module(module_name="widgets.mail.rollback_confirm", task_vars=task_vars))
        return result
