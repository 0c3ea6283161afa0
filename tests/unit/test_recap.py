"""What ansible-playbook's output says of changes."""

from __future__ import annotations

from tests.site import recap

OUTPUT = """\
PLAY [The mail system] *********************************************************

TASK [widgets.mail.sendmail : Compile the configuration] ***********************
changed: [smtp1]
ok: [mail]

TASK [A loop] ******************************************************************
changed: [mail] => (item=one)
ok: [mail] => (item=two)

RUNNING HANDLER [widgets.mail.sendmail : Reload sendmail] **********************
changed: [smtp1]

PLAY RECAP *********************************************************************
smtp1                      : ok=2    changed=2    unreachable=0    failed=0
"""


def test_changes_are_told_by_host_and_task() -> None:
    assert recap.changed(OUTPUT) == {
        ("smtp1", "widgets.mail.sendmail : Compile the configuration"),
        ("mail", "A loop"),
        ("smtp1", "widgets.mail.sendmail : Reload sendmail"),
    }
