"""Many runs of ansible-playbook for the price of one start: import it once, fork for each.

A line on standard input holds the arguments of a run as JSON, a line on standard output its return code and what it printed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings

from ansible.cli.playbook import PlaybookCLI
from ansible.executor import playbook_executor, task_executor  # noqa: F401  (imported here so that no run has to)
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader


def run(argv: list[str]) -> tuple[int, str]:
    """One run in a process of its own, which leaves this one as it was."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        child = os.fork()
        if not child:
            null = os.open(os.devnull, os.O_RDONLY)
            for theirs, ours in ((null, 0), (output.fileno(), 1), (output.fileno(), 2)):
                os.dup2(theirs, ours)
            code = 250
            try:
                # Ansible says that its loader of plugins is set up already.
                warnings.simplefilter("ignore")
                code = PlaybookCLI(["ansible-playbook", *argv]).run()
            except BaseException as problem:
                print(f"{type(problem).__name__}: {problem}", file=sys.stderr)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return status, output.read()


if __name__ == "__main__":
    # The plugins that read an inventory are found once, too.
    init_plugin_loader()
    InventoryManager(loader=DataLoader(), sources=sys.argv[1:])
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
