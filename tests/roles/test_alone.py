"""Every role is usable by itself on a plain host, by the minimal playbook of its README."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.pages import pattern
from tests.roles import alone
from tests.site import lab

EXAMPLES = alone.examples()
# As many at once as there are cores where most people try this.
AT_ONCE = 2
# Roles that refuse a host without a full name; they are tried on theirs before it gets one.
NAMELESS = {"sendmail"}


@pytest.fixture(scope="module")
def stories(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[alone.Story]]]:
    """What happens on each host that was asked for; the runs go on in the background while the first ones are judged."""
    asked = [item.callspec.params["role"] for item in request.session.items if hasattr(item, "callspec")]
    wanted = {role: shown for role, shown in EXAMPLES.items() if role in asked}
    place = tmp_path_factory.mktemp("alone")
    inventory = place / "hosts.json"
    inventory.write_text(json.dumps(alone.hosts(wanted)))
    names = [f"{alone.PREFIX}-{role}" for role in wanted]
    # A host that was used before is not plain.
    subprocess.run(["docker", "rm", "--force", "--volumes", *names], capture_output=True, check=False)
    lab.ansible("ansible-playbook", "-i", str(inventory), "playbooks/lab/create.yml")
    before = {}
    for role, shown in wanted.items():
        first = alone.look(shown)
        if role in NAMELESS:
            said = alone.refusal(wanted[role], place / f"{role}-nameless")
            assert f"The full name of {wanted[role].host} is " in said, said
        alone.name(role)
        before[role] = alone.renamed(first, alone.look(shown))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {role: pool.submit(alone.story, shown, place / role, before[role]) for role, shown in wanted.items()}
    subprocess.run(["docker", "rm", "--force", "--volumes", *names], capture_output=True, check=True)
    subprocess.run(["docker", "network", "rm", f"{alone.PREFIX}-plain"], capture_output=True, check=True)


@pytest.mark.parametrize("role", EXAMPLES)
def test_a_role_alone_does_what_its_readme_says_as_check_mode_foresees_and_once(
    role: str, stories: dict[str, Future[alone.Story]]
) -> None:
    story = stories[role].result()
    shown = EXAMPLES[role]
    assert story.made.changes
    assert story.untrue == []
    assert story.again.changes == set()
    assert story.foreseen_again.changes == set()
    assert [line for line in shown.says if not re.search(pattern(line), story.says)] == [], story.says


@pytest.mark.parametrize("role", EXAMPLES)
def test_a_role_that_goes_leaves_the_host_as_it_was_as_check_mode_foresees_and_once(
    role: str, stories: dict[str, Future[alone.Story]]
) -> None:
    story = stories[role].result()
    if role in alone.MAIL:
        assert story.held.rstrip().endswith(
            f"There still is {alone.MAIL[role]}. Nothing was changed. Let it run empty, and run this again."
        )
    foreseen, made, again = story.leave
    assert made.changes and foreseen.changes == made.changes
    # What goes with its package needs no step of its own. Of packages that two roles have brought, check mode sees only that one of
    # them still needs it.
    together = len({task for _host, task in made.changes}) > 1
    assert [line for line in alone.told(made) - alone.told(foreseen) if not (together and line.startswith("packages "))] == []
    assert again.changes == set()
    assert story.left == [], "\n".join(story.left)
