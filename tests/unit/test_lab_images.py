"""What the lab's image is made from: mirrors, package sets."""

from __future__ import annotations

import images
import pytest
import scanners


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


def test_every_scanner_is_pinned_and_the_scanners_stand_before_what_they_need() -> None:
    pure, more = scanners.split((scanners.SOURCES / "requirements.txt").read_text(encoding="utf-8"))
    assert [name.split("==")[0] for name in pure] == ["ssh-audit", "sslyze"]
    assert more and all("==" in name for name in pure + more)


def test_all_that_the_image_of_the_scanners_copies_decides_whether_it_is_built_anew() -> None:
    copied = [
        name
        for line in (scanners.SOURCES / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("COPY ")
        for name in line.split()[1:-1]
    ]
    assert set(copied) - {"wheels"} <= set(scanners.IN_IMAGE)


def test_an_image_goes_before_the_one_that_it_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine lists the newest first, whatever it is asked for."""
    made = ["sha256:bench", "sha256:host", "sha256:base"]
    names = {"widgets/debian*": made[1:2], "widgets/base": made[2:]}

    def answer(argv: list[str], timeout: float = 30) -> str:
        wanted = argv[argv.index("--filter") + 1]
        return "\n".join(names.get(wanted.removeprefix("reference="), made[:2]))

    left = list(made)

    def run(argv: list[str], *_: object, **__: object) -> str:
        assert left[0] == argv[-1], f"{argv[-1]} has dependent child images"
        left.remove(argv[-1])
        return ""

    monkeypatch.setattr(images, "answer", answer)
    monkeypatch.setattr(images, "run", run)
    assert images.remove_all(lambda _: None) == 3
    assert left == []
