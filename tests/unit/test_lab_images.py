"""What the lab's image is made from: mirrors, package sets."""

from __future__ import annotations

import images


def test_roles_may_name_packages_by_release() -> None:
    assert images.of_release(["a", "b"], "12") == ["a", "b"]
    assert images.of_release({"12": ["old"], "13": ["new"]}, "13") == ["new"]
    assert images.of_release({"all": ["a"], "13": ["new"]}, "12") == ["a"]


def test_sets_are_all_roles_at_once_then_each_role_and_each_prop_alone() -> None:
    roles: dict[str, object] = {"mta": ["sendmail"], "log": {"12": ["rsyslog"], "13": ["rsyslog", "more"]}, "none": []}
    props = {"internet": ["postfix", "bind9"]}
    assert images.package_sets(roles, props, "12") == [["rsyslog", "sendmail"], ["rsyslog"], ["sendmail"], ["bind9", "postfix"]]
    assert ["more", "rsyslog", "sendmail"] in images.package_sets(roles, props, "13")


def test_the_machines_own_mirrors_are_used_for_every_release() -> None:
    targets = [
        "https://packages.example.com/apt stable",
        "http://mirror.example.org/debian/ bookworm",
        "http://mirror.example.org/debian/ bookworm-updates",
        "http://mirror.example.org/debian-security/ bookworm-security",
    ]
    assert images.archives(targets) == ("http://mirror.example.org/debian", "http://mirror.example.org/debian-security")


def test_without_a_mirror_that_others_can_use_it_is_debians_own() -> None:
    fallback = (images.DEFAULT_MIRROR, images.DEFAULT_SECURITY)
    assert images.archives([]) == fallback
    assert images.archives(["mirror+file:/etc/apt/mirrors/debian.list bookworm", "file:/opt/pool/ stable"]) == fallback


def test_a_mirror_without_security_updates_is_taken_at_its_word() -> None:
    assert images.archives(["http://mirror.example.org/debian/ trixie"]) == ("http://mirror.example.org/debian", "")
