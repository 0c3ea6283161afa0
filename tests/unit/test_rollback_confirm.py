"""Whether the operator still gets in is tried over a connection that is made for it, and what is said on the host goes by that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.widgets.mail.plugins.action import put_back, rollback_confirm
from ansible_collections.widgets.mail.plugins.plugin_utils import fresh_connection

IN, OUT = {"elapsed": 1}, {"failed": True, "msg": "timed out"}
ARMED, TOO_LATE = {"changed": False}, {"failed": True, "msg": "put back"}


class Task:
    """A task of a role whose way in is about to change."""

    check_mode = False

    def __init__(self, said: list[str], **args: Any) -> None:
        self.said, self.args = said, args

    def copy(self) -> Task:
        return Task(self.said)


def prepared(
    monkeypatch: pytest.MonkeyPatch, kind: type[Any], task: Task, way_in: dict[str, Any], *answers: dict[str, Any]
) -> Any:
    """An action on a host that lets somebody in again or not, and whose modules answer in turn."""

    class Wait:
        def __init__(self, task: Task, **_rest: Any) -> None:
            self.task = task

        def run(self, task_vars: Any) -> dict[str, Any]:
            self.task.said.append(f"get in within {self.task.args['timeout']}")
            return way_in

    def execute(_self: Any, module_name: str, task_vars: Any, module_args: Any = None) -> dict[str, Any]:
        task.said.append(f"{module_name.split('.')[-1]} {(module_args or task.args).get('confirm', '')}".strip())
        return dict(turns.pop(0))

    turns = list(answers)
    loader = SimpleNamespace(get=lambda _name, task, **rest: Wait(task, **rest))
    monkeypatch.setattr(fresh_connection, "action_loader", loader)
    monkeypatch.setattr(ActionBase, "run", lambda _self, tmp=None, task_vars=None: {})
    monkeypatch.setattr(ActionBase, "_execute_module", execute)
    connection = SimpleNamespace(reset=lambda: task.said.append("leave"), transport="ssh")
    return kind(task, connection, None, None, None)


@pytest.mark.parametrize(
    ("seconds", "way_in", "answers", "said", "failed"),
    [
        (120, IN, [ARMED], ["get in within 180", "rollback_confirm"], False),
        (120, IN, [TOO_LATE], ["get in within 180", "rollback_confirm"], True),
        (120, OUT, [], ["get in within 180"], True),
        (0, IN, [], ["leave"], False),
    ],
)
def test_files_are_confirmed_by_whoever_gets_in_again(
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    way_in: dict[str, Any],
    answers: list[dict[str, Any]],
    said: list[str],
    failed: bool,
) -> None:
    task = Task([], name="ssh", seconds=seconds)
    result = prepared(monkeypatch, rollback_confirm.ActionModule, task, way_in, *answers).run(task_vars={})
    assert (task.said, bool(result.get("failed"))) == (said, failed)


@pytest.mark.parametrize(
    ("way_in", "answers", "said", "failed"),
    [
        (IN, [{"changed": True, "confirm": False}], ["put_back"], False),
        (IN, [{"failed": True, "confirm": True}], ["put_back"], True),
        (IN, [{"changed": True, "confirm": True}, ARMED], ["put_back", "get in within 180", "put_back ssh-absent"], False),
        (IN, [{"changed": True, "confirm": True}, TOO_LATE], ["put_back", "get in within 180", "put_back ssh-absent"], True),
        (OUT, [{"changed": True, "confirm": True}], ["put_back", "get in within 180"], True),
    ],
)
def test_a_role_is_gone_when_somebody_gets_in_without_it(
    monkeypatch: pytest.MonkeyPatch, way_in: dict[str, Any], answers: list[dict[str, Any]], said: list[str], failed: bool
) -> None:
    task = Task([], role="ssh", rollback={"name": "ssh-absent", "seconds": 120})
    result = prepared(monkeypatch, put_back.ActionModule, task, way_in, *answers).run(task_vars={})
    assert (task.said, bool(result.get("failed"))) == (said, failed)
    assert failed or result["changed"]
