"""What the lab says where the machine's kernel has too little left for its hosts, before they are made."""

from __future__ import annotations

import os
from pathlib import Path

import kernel
import pytest
from shell import LabError

from tests.unit.inventory import lab_site


def machine(root: Path, allowed: int, watchers: dict[str, int]) -> Path:
    """A /proc in which processes have so many watchers each, and other open files."""
    (root / "sys/fs/inotify").mkdir(parents=True)
    (root / "sys/fs/inotify/max_user_instances").write_text(f"{allowed}\n")
    for process, count in watchers.items():
        directory = root / process / "fd"
        directory.mkdir(parents=True)
        (directory / "0").symlink_to("/dev/null")
        for number in range(count):
            (directory / str(number + 1)).symlink_to("anon_inode:inotify")
    return root


def test_watchers_of_all_of_a_users_processes_are_counted(tmp_path: Path) -> None:
    proc = machine(tmp_path, 128, {"1": 3, "20": 4, "self": 5})
    assert kernel.limit(proc) == 128
    assert kernel.in_use(proc, os.getuid()) == 7
    assert kernel.in_use(proc, os.getuid() + 1) == 0


def test_a_kernel_that_does_not_say_has_no_limit(tmp_path: Path) -> None:
    assert kernel.limit(tmp_path) is None


def test_where_there_is_room_nothing_is_said() -> None:
    assert kernel.shortage(kernel.PER_HOST * 11 + 5, 5, 11) == ""
    assert kernel.shortage(5, 10, 0) == ""


def test_one_lab_fits_into_what_kernels_usually_allow_and_two_do_not() -> None:
    hosts = len(lab_site()["hosts"])
    assert kernel.shortage(128, 20, hosts) == ""
    assert kernel.shortage(128, 20 + 6 * hosts, hosts) != ""


def test_where_there_is_none_the_remedy_is_one_that_helps() -> None:
    said = kernel.shortage(128, 100, 11)
    assert said.startswith("fs.inotify.max_user_instances is 128 on this machine, and 100 are in use: 11 more hosts"), said
    (value,) = {
        int(word.rstrip(")").split("=")[1]) for word in said.split() if word.startswith("fs.inotify.max_user_instances=")
    }
    assert kernel.shortage(value, 100, 11) == ""
    assert "sysctl -w" in said and "/etc/sysctl.d" in said and "\n" not in said


def test_hosts_that_run_already_need_no_more_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(kernel, "limit", lambda: 100)
    monkeypatch.setattr(kernel, "in_use", lambda: 100)
    monkeypatch.setattr(kernel, "answer", lambda _argv: "lab-a\nlab-b")
    kernel.ensure(["lab-a", "lab-b"])
    with pytest.raises(LabError, match="1 more hosts"):
        kernel.ensure(["lab-a", "lab-b", "lab-c"])
    # An engine elsewhere has a kernel of its own.
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    kernel.ensure(["lab-a", "lab-b", "lab-c"])
