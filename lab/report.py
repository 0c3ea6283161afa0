"""What the person at the terminal sees: numbered steps with times while they wait, a table at the end."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator

BOLD, GREEN, RED, GREY, PLAIN = "\033[1m", "\033[32m", "\033[31m", "\033[90m", "\033[0m"


def seconds(value: float) -> str:
    """A duration as people read it."""
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


class Steps:
    """Numbered steps, each one line in the end; on a terminal the line moves while the step runs."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.number = 0
        self.live = sys.stdout.isatty()
        self.times: list[tuple[str, float]] = []

    def colour(self, code: str, text: str) -> str:
        """Colour a text, on a terminal only."""
        return f"{code}{text}{PLAIN}" if self.live else text

    def line(self, name: str, text: str, right: str = "") -> str:
        """One line of the report."""
        return f"{self.colour(BOLD, f'[{self.number}/{self.total}]')} {name:<12} {text:<66} {right:>8}".rstrip()

    def note(self, name: str) -> Callable[[str], None]:
        """A function that shows what a running step is at."""

        def show(text: str) -> None:
            if self.live:
                width = shutil.get_terminal_size().columns
                sys.stdout.write("\r\033[K" + self.line(name, "")[: width + 8] + self.colour(GREY, text[: max(0, width - 24)]))
                sys.stdout.flush()

        return show

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[tuple[Callable[[str], None], list[str]]]:
        """Run one step: yields a function for notes and a list that takes the lines of its result."""
        self.number += 1
        begun = time.monotonic()
        result: list[str] = []
        if not self.live:
            print(self.line(name, "..."), flush=True)
        try:
            yield self.note(name), result
        except BaseException:
            if self.live:
                sys.stdout.write("\r\033[K")
            print(self.line(name, self.colour(RED, "failed"), seconds(time.monotonic() - begun)), flush=True)
            raise
        taken = time.monotonic() - begun
        self.times.append((name, taken))
        if self.live:
            sys.stdout.write("\r\033[K")
        first, *more = result or ["done"]
        print(self.line(name, first, seconds(taken)))
        for line in more:
            print(f"{'':<18} {line}")
        sys.stdout.flush()

    def table(self, title: str) -> None:
        """Where the time went."""
        print(f"\n{title}")
        for name, taken in self.times:
            print(f"  {name:<14} {seconds(taken):>8}")
        print(f"  {'together':<14} {seconds(sum(taken for _, taken in self.times)):>8}", flush=True)
