"""Check mode and diff are true on hosts never touched, on converged ones, and on ones that somebody has been at.

The hosts have to be bare when this begins (`make up`); `make test-check` makes them, and lets the tests run in this order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from tests.check import drifts, truth
from tests.check.drifts import DRIFTS
from tests.site import lab, recap, state

SITE = "site.yml"
# What has to be the same once drifts are mended.
SAME = ("files", "services", "listeners", "rules", "links", "kernel")
# Sums that no mending brings back: of the copies that are kept of the tables of users as they were before the last change, and of a map
# that was made anew, in which Berkeley DB has a number of its own. Modes and owners are compared; a drift looks into the map.
NEVER_THE_SAME = re.compile(r"[+-] [0-9a-f]{64}  /etc/((passwd|shadow|group|gshadow)-|mail/aliases\.db)\Z")


def check() -> recap.Run:
    """What check mode foretells."""
    return recap.play(SITE, "--check", "--diff")


def run() -> recap.Run:
    """What a run does."""
    return recap.play(SITE, "--diff")


def shell(host: str, script: str) -> str:
    """What a script says on a host."""
    return lab.Machine(host).sh(script)


def not_put_back(before: dict[str, state.State]) -> list[str]:
    """What of the hosts is not as it was."""
    found = state.differences(before, state.states(), *SAME)
    return [
        f"{host}: {line}"
        for host, parts in found.items()
        for lines in parts.values()
        for line in lines
        if not NEVER_THE_SAME.match(line)
    ]


@dataclass(frozen=True)
class Story:
    """What was foretold, what was done, and where that matters the packages of each host from before."""

    foretold: recap.Run
    made: recap.Run
    packages: dict[str, set[str]] = field(default_factory=dict)


# -- never touched ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare() -> Story:
    """Hosts that nothing was ever done to: check, run."""
    there = {host: set(shell(host, truth.PACKAGES).split()) for host in lab.group("site")}
    touched = [host for host in there if "tripwire" in there[host]]
    assert not touched, f"{', '.join(touched)}: not bare. `make test-check` makes the hosts anew."
    return Story(check(), run(), there)


def test_all_that_is_done_to_a_bare_host_was_foretold_and_all_that_was_foretold_is_done(bare: Story) -> None:
    assert bare.made.changes
    assert truth.untrue(bare.foretold, bare.made, truth.UNKNOWN, truth.bringer(shell, bare.packages)) == []


# -- converged -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def before(request: pytest.FixtureRequest) -> dict[str, state.State]:
    """The hosts as site.yml leaves them."""
    run()
    return state.states()


def test_nothing_is_foretold_of_a_converged_host_and_nothing_done(before: dict[str, state.State]) -> None:
    assert check().changes == set()
    assert run().changes == set()
    assert state.differences(before, state.states(), *SAME) == {}


# -- drifted ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drifted(before: dict[str, state.State]) -> Story:
    """Hosts that somebody has been at: check, run."""
    for drift in DRIFTS:
        drifts.make(drift)
    foretold = check()
    assert [drift for drift in DRIFTS if not drifts.stands(drift)] == []
    return Story(foretold, run())


def test_the_drifts_are_many_and_of_every_role() -> None:
    assert len(DRIFTS) >= 12
    # There is no resolver on Debian 12, whose sendmail would not ask it, and no host of this lab has a certificate of an ACME authority:
    # tests/site/test_acme.py has a drift of that role.
    assert {drift.role for drift in DRIFTS} | {"resolver", "acme"} == set(roles())


def test_what_is_foretold_of_a_drifted_host_is_what_is_done(drifted: Story) -> None:
    assert truth.untrue(drifted.foretold, drifted.made) == []


def test_every_drift_is_mended_by_its_role_and_nothing_else_is_done(before: dict[str, state.State], drifted: Story) -> None:
    assert [drift for drift in DRIFTS if drifts.stands(drift)] == []
    done = {(recap.role_of(task), host) for host, task in drifted.made.changes}
    # A package that is back brings its service, which another role runs.
    back = {("firewall", drift.host) for drift in DRIFTS if drift.what == "a package has been removed"}
    assert done - back == {(drift.role, drift.host) for drift in DRIFTS}
    assert not_put_back(before) == []


# -- one tag alone ---------------------------------------------------------------------------------------------------


def roles() -> list[str]:
    """Every role; its tag has its name."""
    return sorted(path.parent.parent.name for path in (lab.ROOT / "roles").glob("*/tasks/main.yml"))


@pytest.fixture(scope="module")
def tagged(drifted: Story) -> dict[str, recap.Run]:
    """Converged hosts, each role's tag alone."""
    return {role: recap.play(SITE, "--diff", "--tags", role) for role in roles()}


@pytest.mark.parametrize("role", roles())
def test_a_tag_alone_runs_to_its_end_and_changes_nothing_on_converged_hosts(role: str, tagged: dict[str, recap.Run]) -> None:
    assert tagged[role].changes == set()


@dataclass(frozen=True)
class Mended:
    """What a tag alone did: the changes, and the drifts that stood before and after."""

    made: recap.Run
    before: list[drifts.Drift]
    after: list[drifts.Drift]


@pytest.fixture(scope="module")
def mended(tagged: dict[str, recap.Run]) -> dict[str, Mended]:
    """Drifted hosts, one tag after the other."""
    for drift in DRIFTS:
        drifts.make(drift)
    out = {}
    for role in roles():
        standing = [drift for drift in DRIFTS if drifts.stands(drift)]
        made = recap.play(SITE, "--diff", "--tags", role)
        out[role] = Mended(made, standing, [drift for drift in DRIFTS if drifts.stands(drift)])
    return out


@pytest.mark.parametrize("role", roles())
def test_a_tag_alone_mends_what_is_its_roles_and_nothing_else(role: str, mended: dict[str, Mended]) -> None:
    story = mended[role]
    # A role that no host has does nothing.
    assert {recap.role_of(task) for _host, task in story.made.changes} == {role} & {drift.role for drift in DRIFTS}
    gone = [drift for drift in story.before if drift not in story.after]
    assert gone == [drift for drift in DRIFTS if drift.role == role]


def test_all_tags_one_after_the_other_do_what_the_whole_does(before: dict[str, state.State], mended: dict[str, Mended]) -> None:
    assert run().changes == set()
    assert not_put_back(before) == []
