"""What is sent to hosts runs there, where nothing of ours can be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.site import agents, away, postman
from tests.site.agent import __name__ as AGENT
from tests.site.shipped import needed, source


def ran(function: Any, *more: str, **arguments: Any) -> subprocess.CompletedProcess[str]:
    """A function as `python3 -c` runs it on a host: from nowhere, with nothing of the environment's."""
    argv = [sys.executable, "-I", "-c", source(function.__module__), function.__name__]
    text = "".join(f"{line}\n" for line in (json.dumps(arguments), *more))
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, cwd="/", timeout=60)


@pytest.mark.parametrize("function", [getattr(away, name) for name in away.__all__] + [postman.mbox_session])
def test_every_module_comes_with_all_that_it_imports(function: Any) -> None:
    done = ran(function, no_such_argument=1)
    assert done.returncode == 1 and f"{function.__name__}() got an unexpected keyword argument" in done.stderr, done.stderr


def test_a_result_comes_back_as_a_line(tmp_path: Any) -> None:
    (tmp_path / "mbox").write_text("From a\nSubject: word\n\nline\n\n")
    done = ran(away.mbox_body, path=str(tmp_path / "mbox"), word="word", deadline=5)
    assert (done.stdout, done.stderr) == ('["line"]\n', "")


def test_a_function_that_goes_on_talking_says_no_more_than_it_has_to_say() -> None:
    done = ran(away.words_session, words=["no-such-word-anywhere-" + str(os.getpid())], seconds=0)
    ready, found = (json.loads(line) for line in done.stdout.splitlines())
    assert ready == "ready" and found["rounds"] >= 1 and found["found"] == [], done.stderr


def test_an_agent_that_has_run_one_runs_it_and_others_again() -> None:
    host = agents.Agents(lambda _container, program: agents.Agent([sys.executable, "-I", "-c", program]))
    for function, arguments in ((away.probe, {"targets": []}), (away.dns, {"server": "", "port": 1, "questions": []})) * 2:
        request = {"source": source(function.__module__), "argv": [function.__name__], "text": json.dumps(arguments) + "\n"}
        done = host.ask("here", source(AGENT), request, 20)
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    host.close()


def test_a_module_that_needs_nothing_of_ours_is_sent_as_it_is() -> None:
    assert needed(AGENT) == [] and "exec(" in source(AGENT) and "needed" not in source(AGENT)
