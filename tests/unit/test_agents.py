"""The process that starts the tests' programs on a host: what it says of them is what the engine would say."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import agent, agents

PROGRAM = Path(str(agent.__file__)).read_text(encoding="utf-8")
GREETING = """
import sys
def main():
    print(__name__, sys.argv[1:], sys.stdin.readline().strip())
    print("aside", file=sys.stderr)
    raise SystemExit(int(sys.argv[1]))
if __name__ == "__main__":
    main()
"""
started: list[agents.Agent] = []


def here(_container: str, program: str) -> agents.Agent:
    """An agent on this machine."""
    started.append(agents.Agent([sys.executable, "-c", program]))
    return started[-1]


@pytest.fixture
def host() -> Iterator[agents.Agents]:
    """A host whose agents run here."""
    started.clear()
    waiting = agents.Agents(here)
    yield waiting
    waiting.close()


def run(host: agents.Agents, *argv: str, text: str = "", timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run a program there."""
    return host.ask("here", PROGRAM, {"argv": argv, "text": text}, timeout)


def test_a_program_gets_its_input_and_says_what_it_says(host: agents.Agents) -> None:
    done = run(host, "sh", "-c", "cat; echo aside >&2; exit 3", text="über\n" * 100_000)
    assert (done.returncode, done.stdout, done.stderr) == (3, "über\n" * 100_000, "aside\n")
    # One that does not read its input is not waited for.
    assert run(host, "true", text="x" * 1_000_000).returncode == 0
    assert len(started) == 1


def test_a_program_that_is_not_there_or_was_killed_has_the_engine_s_code(host: agents.Agents) -> None:
    assert run(host, "/no/such/program").returncode == 127
    assert run(host, "sh", "-c", "kill -9 $$").returncode == 137
    assert run(host, "printf", r"\377").stdout == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may start what is somebody else's")
def test_a_program_of_somebody_else_has_his_groups_and_nothing_of_root_s(host: agents.Agents) -> None:
    person = pwd.getpwnam("nobody")
    request = {
        "argv": ["sh", "-c", "id -u; id -g; id -G; grep ^Cap[PE] /proc/self/status; echo $HOME"],
        "text": "",
        "user": "nobody",
    }
    said = host.ask("here", PROGRAM, request, 20).stdout.split("\n")
    groups = " ".join(str(number) for number in os.getgrouplist("nobody", person.pw_gid))
    assert said[:3] == [str(person.pw_uid), str(person.pw_gid), groups]
    assert [int(line.split()[1], 16) for line in said[3:5]] == [0, 0] and said[5] == person.pw_dir
    assert host.ask("here", PROGRAM, {**request, "user": "no-such-user"}, 20).returncode == 127
    assert len(started) == 1


def test_what_a_program_leaves_running_is_not_waited_for(host: agents.Agents) -> None:
    assert run(host, "sh", "-c", "sleep 30 & echo begun").stdout == "begun\n"


def test_a_module_runs_as_a_program_each_time_anew(host: agents.Agents) -> None:
    for code in (0, 4):
        done = host.ask("here", PROGRAM, {"source": GREETING, "argv": [str(code), "b"], "text": "word\n"}, 20)
        assert (done.returncode, done.stdout, done.stderr) == (code, f"__main__ ['{code}', 'b'] word\n", "aside\n")
    broken = host.ask("here", PROGRAM, {"source": "raise KeyError('x')", "argv": [], "text": ""}, 20)
    assert broken.returncode == 1 and "KeyError" in broken.stderr
    assert len(started) == 1


def test_what_takes_too_long_is_left_and_the_next_thing_runs(host: agents.Agents) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(host, "sleep", "30", timeout=0.5)
    assert run(host, "echo", "on").stdout == "on\n"


def test_threads_do_not_wait_for_each_other(host: agents.Agents) -> None:
    both = threading.Barrier(2)

    def one() -> None:
        both.wait()
        run(host, "sleep", "0.3")

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 2
    run(host, "true")
    assert len(started) == 2


def test_a_host_that_was_restarted_gets_a_new_agent(host: agents.Agents) -> None:
    run(host, "true")
    started[0].process.kill()
    assert run(host, "echo", "again").stdout == "again\n"
    assert len(started) == 2


def test_a_host_that_goes_away_meanwhile_is_told_as_a_program_that_was_killed_and_nothing_runs_twice(
    host: agents.Agents, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    done = run(host, "sh", "-c", f"echo once >> {count}; kill -9 $PPID; sleep 1")
    assert done.returncode == 137
    assert count.read_text() == "once\n"


def test_of_a_host_that_does_not_run_the_engine_s_complaint_is_told() -> None:
    away = agents.Agents(lambda *_: agents.Agent(["sh", "-c", "echo 'container x is not running' >&2; exit 1"]))
    done = run(away, "true")
    assert done.returncode == 1 and "is not running" in done.stderr
