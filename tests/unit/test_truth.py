"""What check mode foretold against what was done: each way in which the two can differ is told."""

from __future__ import annotations

from tests.check.truth import untrue
from tests.site.recap import Part, Run

KEY = ("mail", "widgets.mail.pop3 : Configure")
FILE = Part("/etc/a", "old\n", "new\n")


def runs(foretold: list[Part], made: list[Part]) -> tuple[Run, Run]:
    return Run({KEY: foretold}, []), Run({KEY: made}, [])


def test_the_same_changes_are_true_whatever_was_there_before() -> None:
    assert untrue(*runs([FILE], [FILE._replace(before="brought by a package\n")])) == []


def test_a_change_that_only_one_of_them_has_is_told() -> None:
    empty = Run({}, [])
    some = Run({KEY: [FILE]}, [])
    assert untrue(some, empty) == ["mail: widgets.mail.pop3 : Configure: foretold, and not done"]
    assert untrue(empty, some) == ["mail: widgets.mail.pop3 : Configure: done, and not foretold"]


def test_another_content_and_another_path_are_told() -> None:
    assert len(untrue(*runs([FILE], [FILE._replace(after="other\n")]))) == 2
    assert untrue(*runs([], [FILE])) == ["mail: widgets.mail.pop3 : Configure: done, and not foretold: /etc/a: 'new\\n'"]


def test_of_what_cannot_be_known_only_the_path_counts() -> None:
    other = FILE._replace(after="other\n")
    assert untrue(*runs([FILE], [other]), unknown={"/etc/a"}) == []
    assert len(untrue(*runs([], [other]), unknown={"/etc/a"})) == 1


def test_modes_are_lines_and_those_of_a_new_package_are_nobodys_to_foretell() -> None:
    first = Part("", "/etc/b root:root 0755\n", "/etc/b root:root 0700\n")
    both = Part("", first.before, first.after + "statoverride /usr/bin/c root:root 0755\n")
    assert len(untrue(*runs([first], [both]))) == 1
    assert untrue(*runs([first], [both]), brought=lambda host, path: (host, path) == ("mail", "/usr/bin/c")) == []
    # What was foretold has to come, whoever brought it.
    assert len(untrue(*runs([both], [first]), brought=lambda _host, _path: True)) == 1


def test_a_zone_may_have_the_serial_of_its_own_run() -> None:
    zone = "@ IN SOA ns. a. (\n  {} ; serial\n 7200)\n"
    one, other = (FILE._replace(after=zone.format(serial)) for serial in (1790000000, 1790000060))
    assert untrue(*runs([one], [other])) == []


def test_on_bare_hosts_what_another_task_of_the_run_made_ready_is_true() -> None:
    other = ("mail", "widgets.mail.base : Before")
    mode = Part("/etc/a", "/etc/a absent\n", "/etc/a root:root 0644\n")
    foretold = Run({KEY: [FILE, mode], other: [FILE]}, [])
    assert untrue(foretold, Run({KEY: [Part("/etc/z", "", "z")], other: [FILE]}, []), unknown={"x"}) == [
        "mail: widgets.mail.pop3 : Configure: done, and not foretold: /etc/z: 'z'"
    ]
    # A file that a package brought with its mode; where no package was to come, both have to be done.
    assert untrue(foretold, Run({KEY: [FILE], other: [FILE]}, []), unknown={"x"}) == []
    assert len(untrue(foretold, Run({KEY: [FILE], other: [FILE]}, []))) == 1
    # Another content is never excused.
    assert len(untrue(foretold, Run({KEY: [FILE._replace(after="other\n")], other: [FILE]}, []), unknown={"x"})) == 2
