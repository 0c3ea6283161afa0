"""The images that the lab's hosts are made from: a bare Debian, pulled or built, and on it a host with a package pool."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from shell import ROOT, STATE, VENV, LabError, answer, apt_install, is_root, run

CODENAMES = {"12": "bookworm", "13": "trixie"}
PREFIX = "widgets"
LABEL = "widgets.lab"  # on containers and networks that we make
IMAGE_LABEL = "widgets.image"  # on images: another one, since every container inherits the labels of its image
DEFAULT_MIRROR = "http://ftp.debian.org/debian"  # only where the machine has no apt sources that others can use
DEFAULT_SECURITY = "http://security.debian.org/debian-security"
IMAGE_SOURCES = ROOT / "lab" / "image"

# Run by the virtual environment's Python, which has a YAML parser: prints the packages of each role and its parts as JSON.
READ_ROLES = """
import json, pathlib, sys, yaml
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/vars/main.yml")):
    role = path.parent.parent.name
    data = yaml.safe_load(path.read_text()) or {}
    name = f"__{role}_packages"
    found[role] = {key: value for key, value in data.items() if key == name or key.startswith(f"{name}_")}
print(json.dumps(found))
"""


def image(release: str) -> str:
    """Name the image of a host with this Debian release."""
    return f"{PREFIX}/debian{release}"


def strings(tree: object) -> list[str]:
    """Collect every string of nested lists and dicts."""
    if isinstance(tree, str):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [name for branch in tree for name in strings(branch)] if isinstance(tree, list) else []


def of_release(packages: object, release: str) -> list[str]:
    """Give the package names of one release from plain data: a list, or dicts that may have a key for each release."""
    if isinstance(packages, dict):
        parts = [value for key, value in packages.items() if key not in CODENAMES or key == release]
        return [name for part in parts for name in of_release(part, release)]
    return strings(packages)


def package_sets(roles: dict[str, object], props: dict[str, list[str]], release: str) -> list[list[str]]:
    """Give the sets of packages to resolve together: all roles at once, each role alone, each prop alone."""
    alone = [sorted(set(of_release(packages, release))) for _, packages in sorted(roles.items())]
    together = sorted({name for packages in alone for name in packages})
    sets = [together, *alone, *(sorted(packages) for _, packages in sorted(props.items()))]
    return [list(unique) for unique in dict.fromkeys(tuple(packages) for packages in sets if packages)]


def archives(targets: Iterable[str]) -> tuple[str, str]:
    """Choose the archive and the security archive from lines of apt's own targets ("URI release").

    The machine's mirrors serve other releases as well, so only the address counts. Methods that debootstrap and
    a container cannot use (mirror+file:, file:, cdrom:) are passed over.
    """
    main = security = ""
    for line in targets:
        uri = line.split(" ")[0].rstrip("/")
        if not re.match(r"https?://", uri):
            continue
        if re.search(r"/debian-security$", uri):
            security = security or uri
        elif re.search(r"/debian$", uri):
            main = main or uri
    if not main:
        return DEFAULT_MIRROR, DEFAULT_SECURITY
    return main, security


def machine_archives() -> tuple[str, str]:
    """Ask this machine's apt, where there is one, which archives it uses."""
    targets = answer(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"])
    return archives((targets or "").splitlines())


def registry_reachable() -> bool:
    """Tell in a few seconds whether a pull is worth trying."""
    mirrors = answer(["docker", "info", "--format", "{{len .RegistryConfig.Mirrors}}{{.HTTPSProxy}}"])
    if mirrors not in (None, "0"):
        return True
    try:
        socket.create_connection(("registry-1.docker.io", 443), timeout=3).close()
    except OSError:
        return False
    return True


def pull(codename: str, base: str) -> bool:
    """Try to get the base image from the registry; leave no name behind that was not there before."""
    source = f"debian:{codename}-slim"
    had = answer(["docker", "image", "inspect", "--format", "{{.Id}}", source]) is not None
    if not had and not (registry_reachable() and answer(["docker", "pull", "--quiet", source], timeout=180)):
        return False
    if answer(["docker", "tag", source, base]) is None:
        return False
    if not had:
        answer(["docker", "rmi", source])
    return True


def bootstrap(codename: str, base: str, mirror: str, note: Callable[[str], None]) -> None:
    """Build the base image from packages."""
    if not is_root():
        raise LabError(
            f"The image debian:{codename}-slim cannot be pulled here, and building it with debootstrap needs root. "
            "Run this as root, or load that image into the engine, and run it again."
        )
    if shutil.which("debootstrap") is None:
        apt_install(["debootstrap", "debian-archive-keyring"], "apt", "Building a base image")
    target = STATE / "build" / codename
    log = f"debootstrap-{codename}"
    discard(target)
    target.mkdir(parents=True)
    try:
        run(
            ["debootstrap", "--variant=minbase", codename, str(target), mirror],
            log,
            doing=f"debootstrap of {codename} from {mirror}",
            on_line=lambda line: note(f"debootstrap {codename}: {line.removeprefix('I: ')}"),
            advice="Check that this machine reaches that mirror, then run this again; nothing half-built is kept.",
        )
        for path in (target / "var/cache/apt/archives").glob("*.deb"):
            path.unlink()
        note(f"importing {base}")
        with subprocess.Popen(["tar", "-C", str(target), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run(
                ["docker", "import", "--change", f"LABEL {IMAGE_LABEL}=true", "-", base],
                stdin=tar.stdout,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode or tar.returncode:
            raise LabError(
                f"docker import of {base} failed: {done.stderr.strip()} Is the disk full? Put it right and run this again."
            )
    finally:
        discard(target)


def discard(target: Path) -> None:
    """Remove a file tree that debootstrap made, however it ended: /proc and /sys may still be mounted in it."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{target}/")]):
        if answer(["umount", mount]) is None:
            raise LabError(f"{mount}, left by an interrupted debootstrap, cannot be unmounted. Unmount it and run this again.")
    shutil.rmtree(target, ignore_errors=True)


def digest(*parts: str) -> str:
    """Give a short hash over texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def wanted_sets(release: str) -> list[list[str]]:
    """Derive the pool from the roles and the props as they stand now."""
    output = answer([str(VENV / "bin/python"), "-c", READ_ROLES, str(ROOT / "roles")])
    if output is None:
        raise LabError(
            "The package lists in roles/*/vars/main.yml cannot be read; `make lint` tells which file is not sound YAML."
        )
    props = json.loads((ROOT / "lab/props/packages.json").read_text(encoding="utf-8"))
    return package_sets(json.loads(output), props, release)


def ensure_base(release: str, note: Callable[[str], None]) -> tuple[str, str]:
    """Have a bare Debian of this release; give its name and how it was got."""
    codename, base = CODENAMES[release], f"{PREFIX}/base:{CODENAMES[release]}"
    if answer(["docker", "image", "inspect", "--format", "{{.Id}}", base]) is not None:
        return base, "base at hand"
    note(f"looking for debian:{codename}-slim")
    if pull(codename, base):
        return base, "pulled"
    bootstrap(codename, base, machine_archives()[0], note)
    return base, "debootstrap"


def ensure(release: str, note: Callable[[str], None]) -> str:
    """Have the image of this release, building what is missing; give a line about it."""
    if release not in CODENAMES:
        raise LabError(f'Debian "{release}" is not known here; lab_release and DEBIAN may be {" or ".join(CODENAMES)}.')
    codename, name = CODENAMES[release], image(release)
    mirror, security = machine_archives()
    base, how = ensure_base(release, note)
    base_id = answer(["docker", "image", "inspect", "--format", "{{.Id}}", base]) or ""

    sets = "".join(" ".join(packages) + "\n" for packages in wanted_sets(release))
    sources = [path for path in sorted(IMAGE_SOURCES.rglob("*")) if path.is_file()]
    wanted = digest(
        base_id, sets, *(f"{path.relative_to(IMAGE_SOURCES)}\n{path.read_text(encoding='utf-8')}" for path in sources)
    )
    label = f'{{{{index .Config.Labels "{IMAGE_LABEL}.hash"}}}} {{{{index .Config.Labels "{IMAGE_LABEL}.pool"}}}}'
    state = (answer(["docker", "image", "inspect", "--format", label, name]) or "").split(" ")
    if state[0] == wanted:
        return f"{name}: at hand"

    build(name, base, codename, mirror, security, sets, wanted, note)
    return f"{name}: built ({how}), pool of {pool_size(name)} packages"


def build(
    name: str, base: str, codename: str, mirror: str, security: str, sets: str, wanted: str, note: Callable[[str], None]
) -> None:
    """Build the host image; its name moves to the new image only when all of it succeeded."""
    old = answer(["docker", "image", "inspect", "--format", "{{.Id}}", name])
    context = STATE / "build" / f"context-{codename}"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(IMAGE_SOURCES, context)
    (context / "pool.sets").write_text(sets, encoding="utf-8")
    try:
        docker_build(name, context, base, codename, mirror, security, {"hash": wanted}, note)
    finally:
        shutil.rmtree(context, ignore_errors=True)
    if old and old != answer(["docker", "image", "inspect", "--format", "{{.Id}}", name]):
        answer(["docker", "rmi", old])  # refused while a container still uses it: `make destroy` finds it by its label


def docker_build(
    name: str,
    context: Path,
    base: str,
    codename: str,
    mirror: str,
    security: str,
    labels: dict[str, str],
    note: Callable[[str], None],
) -> None:
    """Build an image from a directory, with the archives and proxies that this machine uses."""
    arguments = {"BASE": base, "CODENAME": codename, "MIRROR": mirror, "SECURITY": security}
    proxies = [key for key in ("http_proxy", "https_proxy", "no_proxy") if key in os.environ]
    run(
        [
            *["docker", "build", "--network=host", "--force-rm", f"--tag={name}", f"--label={IMAGE_LABEL}=true"],
            *[f"--label={IMAGE_LABEL}.{key}={value}" for key, value in labels.items()],
            *[f"--build-arg={key}={value}" for key, value in arguments.items()],
            *[f"--build-arg={key}" for key in proxies],
            str(context),
        ],
        f"image-{name.rsplit('/', 1)[1].removeprefix('debian')}-{codename}",
        doing=f"Building the image {name}",
        on_line=lambda line: note(f"{name}: {line.strip()}") if line.strip() else None,
        # The classic builder is in every engine; BuildKit wants a plug-in that Debian does not install.
        env={"DOCKER_BUILDKIT": "0"},
        advice=f"If it could not download, check that this machine reaches {mirror}, then run this again; finished layers are kept.",
    )


def pool_size(name: str) -> str:
    """Count the packages of an image's pool, from the record of its build."""
    answered = answer(
        ["docker", "run", "--rm", "--network=none", "--entrypoint=/bin/sh", name, "-c", "ls /opt/lab/pool/*.deb | wc -l"]
    )
    return answered or "?"


def remove_all(note: Callable[[str], None]) -> int:
    """Remove every image that we made; give their number."""
    listed: list[str] = []
    # The engine lists the newest first, and refuses to remove one that another is made from: the bench's come before the hosts'.
    for wanted in (f"label={IMAGE_LABEL}=true", f"reference={PREFIX}/debian*", f"reference={PREFIX}/base"):
        found = answer(["docker", "images", "--quiet", "--no-trunc", "--filter", wanted]) or ""
        listed += found.split()
    unique = list(dict.fromkeys(listed))
    for identity in unique:
        note(f"removing image {identity[7:19]}")
        run(["docker", "rmi", "--force", identity], "destroy", doing=f"Removing image {identity}", append=True)
    return len(unique)
