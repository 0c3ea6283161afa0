"""What tests of the network share: what comes of connections, more addresses for a host, and what the collector has of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from tests.site import away, lab


def outcomes(machine: lab.Machine, targets: Iterable[tuple[str, int]], timeout: float = 2.5) -> dict[tuple[str, int], str]:
    """What comes of a TCP connection to each address and port."""
    asked = list(targets)
    found = machine.call(away.probe, targets=[list(target) for target in asked], timeout=timeout, at_once=64)
    return {target: entry["result"] for target, entry in zip(asked, found, strict=True)}


def denials(collector: lab.Machine, *filters: str) -> str:
    """The latest lines of these packet filters on the collector."""
    files = " ".join(f"{lab.REMOTE_LOGS}/{name}/syslog.log" for name in filters)
    return collector.sh(f"tail -q -n 2000 {files} | grep 'SRC=' || true")


def filed_under(collector: lab.Machine, word: str) -> set[str]:
    """The hosts under which the collector has a word."""
    found = collector.run("grep", "-rlF", "-e", word, lab.REMOTE_LOGS, check=False).stdout.split()
    return {path.removeprefix(lab.REMOTE_LOGS + "/").split("/")[0] for path in found}


def link(machine: lab.Machine, address: str) -> tuple[str, str]:
    """The link that has an address of the host's, and the length of its network's prefix."""
    _number, name, _family, own, *_rest = machine.sh(f"ip -o address show to {address}").split()
    return name.split("@")[0], own.split("/")[1]


@contextmanager
def more_addresses(
    machine: lab.Machine, own: str, more: Sequence[str], length: str = "", how: str = ""
) -> Iterator[Sequence[str]]:
    """More addresses for a host, on the link of one of its own and in the same network; what a run left that broke off goes first.

    length: of another network's prefix; how: words for `ip address add`.
    """
    name, usual = link(machine, own)
    add, remove = (
        "; ".join(f"ip address {verb} {address}/{length or usual} dev {name} {words}" for address in more)
        for verb, words in (("add", how), ("del", ""))
    )
    machine.sh(f"({remove}) 2>/dev/null; {add}")
    try:
        yield more
    finally:
        machine.sh(f"({remove}) 2>/dev/null; true")
