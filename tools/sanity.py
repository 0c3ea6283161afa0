#!/usr/bin/env python3
"""Judge what `ansible-galaxy collection build` makes of this tree, as others would: ansible-test, galaxy-importer, ansible-builder.

    python3 tools/sanity.py [changelog] [galaxy] [builder] [2.19] [2.20] [2.21]     # some of it; all of it without a word

`make sanity` runs all, `make changelog` gathers the fragments. Each tool lives in a virtual environment below .lab/sanity, which is
made once. ansible-test wants the interpreter that its ansible-core is for; a release that none here fits is a failure, told as such.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".lab/sanity"
REQUIREMENTS = ROOT / "requirements-sanity.txt"
# Supported releases of ansible-core (meta/runtime.yml has the oldest), and the second numbers of Pythons that each runs on.
CORES = {"2.19": range(11, 14), "2.20": range(12, 15), "2.21": range(12, 15)}
# ansible-test makes environments without pip and fetches a script to put it there from a host of its own. This one takes the pip
# that comes with Python, and from the package index the version that was asked for.
GET_PIP = """import subprocess, sys
wanted = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
subprocess.run([sys.executable, "-m", "ensurepip"], check=True)
subprocess.run([sys.executable, "-m", "pip", "install", *wanted], check=True)
"""


class Failed(Exception):
    """Something that the collection has to answer for."""


def run(argv: list[str | Path], where: Path, log: Path, **more: str) -> str:
    """Run a program with its output in a file; the output where it succeeded."""
    log.parent.mkdir(parents=True, exist_ok=True)
    config = Path.home() / ".config/pip/pip.conf"
    pip = {"PIP_CONFIG_FILE": str(config)} if config.is_file() else {}
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=where,
        env={**pip, **env, "LC_ALL": "C.UTF-8", **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log.write_text(done.stdout, encoding="utf-8")
    if done.returncode:
        found = [line for line in done.stdout.splitlines() if re.match(r"(ERROR|FATAL)\b", line)]
        raise Failed("\n".join([*found[-30:], f"{Path(argv[0]).name} failed; all it said is in {log.relative_to(ROOT)}"]))
    return done.stdout


@cache
def interpreter(minors: range) -> Path:
    """The newest of some Pythons that is here."""
    names = [f"python3.{minor}" for minor in reversed(minors)]
    kept = [str(path) for name in names for path in sorted(Path.home().glob(f".pyenv/versions/*/bin/{name}"))]
    for name in (*names, "python3", *kept):
        found = shutil.which(name)
        told = found and subprocess.run(
            [found, "-c", "import sys; print(sys.version_info.minor, sys.executable)"],
            capture_output=True,
            text=True,
            check=False,
        )
        if told and not told.returncode:
            minor, path = told.stdout.split(maxsplit=1)
            if int(minor) in minors:
                return Path(path.strip())
    raise Failed(f"not judged: it needs {' or '.join(reversed(names))}, and none is on this machine")


def environment(name: str, python: Path, *packages: str) -> Path:
    """The directory of programs of a virtual environment with these packages."""
    place = PLACE / name
    stamp, wanted = place / ".packages", f"{python}\n{packages}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        log = PLACE / "log" / f"{name}-environment.txt"
        run([python, "-m", "venv", "--clear", place], ROOT, log)
        run([place / "bin/pip", "install", "--disable-pip-version-check", *packages], ROOT, log)
        stamp.write_text(wanted, encoding="utf-8")
    return place / "bin"


def tools() -> Path:
    """The programs of requirements-sanity.txt."""
    return environment("tools", interpreter(range(11, 14)), "--requirement", str(REQUIREMENTS))


@cache
def built() -> Path:
    """The collection as it would be handed on."""
    out = PLACE / "built"
    shutil.rmtree(out, ignore_errors=True)
    run([tools() / "ansible-galaxy", "collection", "build", "--output-path", out], ROOT, PLACE / "log/build.txt")
    (tarball,) = out.glob("*.tar.gz")
    return tarball


def installed(name: str) -> Path:
    """The built collection in a tree of its own."""
    tree = PLACE / "trees" / name
    shutil.rmtree(tree, ignore_errors=True)
    argv: list[str | Path] = [tools() / "ansible-galaxy", "collection", "install", "--offline", "-p", tree, built()]
    run(argv, PLACE, PLACE / "log" / f"{name}-install.txt")
    return tree / "ansible_collections/widgets/mail"


def ansible_test(core: str) -> str:
    """ansible-test's sanity tests, as one release of ansible-core has them."""
    python = interpreter(CORES[core])
    programs = environment(f"core-{core}", python, f"ansible-core~={core}.0")
    home = PLACE / "home"
    cache_of_it = home / ".ansible/test/cache"
    cache_of_it.mkdir(parents=True, exist_ok=True)
    (requirements,) = programs.parent.glob("lib/python3*/site-packages/ansible_test/_internal/python_requirements.py")
    for version in set(re.findall(r"pip='([0-9.]+)'", requirements.read_text(encoding="utf-8"))):
        (cache_of_it / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, encoding="utf-8")
    minor = python_minor(programs)
    tree = installed(core)
    # Not part of what is handed on: the reasons for what is passed over are this project's own.
    shutil.copytree(ROOT / "tests/sanity", tree / "tests/sanity")
    # It asks git for the files, and this clone's would tell it that the tree is to be ignored.
    run(["git", "init", "--quiet"], tree, PLACE / "log" / f"{core}-git.txt")
    said = run(
        [programs / "ansible-test", "sanity", "--local", "--python", f"3.{minor}", "--requirements", "--color", "no"],
        tree,
        PLACE / "log" / f"{core}.txt",
        HOME=str(home),
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
    passed = set(re.findall(r'^Running sanity test "([a-z-]+)"', said, re.MULTILINE))
    if "validate-modules" not in passed:
        raise Failed(f"ansible-test passed over the plugins; what it said is in .lab/sanity/log/{core}.txt")
    return f"{len(passed)} tests passed on Python 3.{minor}"


def python_minor(programs: Path) -> int:
    """Which Python an environment has."""
    told = subprocess.run(
        [programs / "python", "-c", "import sys; print(sys.version_info.minor)"], capture_output=True, text=True, check=True
    )
    return int(told.stdout)


def galaxy() -> str:
    """What Galaxy's importer says: nothing, but for what it is doing."""
    programs = tools()
    said = run(
        [programs / "python", "-m", "galaxy_importer.main", built().name],
        built().parent,
        PLACE / "log/galaxy-importer.txt",
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
    )
    found = [line for line in said.splitlines() if re.match(r"(WARNING|ERROR)\b", line)]
    if found or "Importing with galaxy-importer" not in said:
        raise Failed(
            "\n".join([*found, "galaxy-importer has something to say; .lab/sanity/log/galaxy-importer.txt has all of it"])
        )
    return "nothing to say"


def builder() -> str:
    """Whether ansible-builder takes the definition of the execution environment, and finds what the collection needs."""
    programs = tools()
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    shutil.copy(built(), dist / f"widgets-mail-{version}.tar.gz")
    shutil.rmtree(PLACE / "context", ignore_errors=True)
    argv: list[str | Path] = [programs / "ansible-builder", "create", "--context", PLACE / "context"]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    run(argv, ROOT, PLACE / "log/builder.txt", PATH=path)
    tree = installed("builder").parents[2]
    told = run([programs / "ansible-builder", "introspect", tree], ROOT, PLACE / "log/introspect.txt", PATH=path)
    if "libpass" not in told or "openssh-client" not in told:
        raise Failed(f"ansible-builder does not see what the collection needs:\n{told}")
    return "a context was made, what the collection needs is in it"


def changelog() -> str:
    """Whether the fragments can be read."""
    run([tools() / "antsibull-changelog", "lint"], ROOT, PLACE / "log/changelog.txt")
    waiting = len(list((ROOT / "changelogs/fragments").glob("*.yml")))
    return f"{waiting} fragments wait for `make changelog`"


def gather() -> str:
    """The fragments become entries of the version in galaxy.yml, and CHANGELOG.md is written."""
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    argv: list[str | Path] = [tools() / "antsibull-changelog", "release", "--version", str(version), "--update-existing"]
    run(argv, ROOT, PLACE / "log/gather.txt")
    return f"CHANGELOG.md has them under {version}"


def main() -> int:
    every: dict[str, Callable[[], str]] = {"changelog": changelog, "galaxy": galaxy, "builder": builder}
    for core in CORES:
        every[core] = lambda core=core: ansible_test(core)  # type: ignore[misc]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", choices=[[], "gather", *every])
    wanted = parser.parse_args().parts or list(every)
    failed = 0
    for name in wanted:
        title = f"ansible-core {name}" if name in CORES else name
        try:
            print(f"{title:20} {({**every, 'gather': gather})[name]()}", flush=True)
        except Failed as problem:
            failed += 1
            print(f"{title:20} FAILED\n{problem}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
