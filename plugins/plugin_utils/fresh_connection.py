# SPDX-License-Identifier: MIT
"""A connection made anew: one that is open goes on whatever rules and servers say by now, and so proves nothing."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader

# Seconds that getting in again is tried for after the former files are back: then it works, and the module tells what has happened.
LONGER = 60


def get_in_again(action: ActionBase, task_vars: Any, seconds: int) -> dict[str, Any]:
    """Leave the connection and make another, in so many seconds and a minute; a result that has failed where that cannot be done."""
    task = action._task.copy()
    task.args = {"timeout": seconds + LONGER}
    wait = action_loader.get(
        "ansible.builtin.wait_for_connection",
        task=task,
        connection=action._connection,
        play_context=action._play_context,
        loader=action._loader,
        templar=action._templar,
        shared_loader_obj=None,
    )
    return dict(wait.run(task_vars=task_vars))
