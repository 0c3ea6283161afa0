"""Puts certificates that an ACME authority has signed into the files that daemons read, beside their keys, and has them reload.

    install.py SETTINGS STATE

As root, since the keys are their daemons' alone. Whoever asked the authority is not trusted: what lies in STATE/ready is taken only
where it is a certificate of the key that is there already, for the names that were asked for, and has not ended. Else the file stays as
it is. One that is replaced is so as a whole: whoever looks meanwhile finds the old certificate or the new one.
"""

from __future__ import annotations

import datetime
import json
import os
import pwd
import re
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ERROR, WARNING, NOTICE = "<3>", "<4>", "<5>"
KEY = re.compile(r"-----BEGIN ((?:EC |RSA )?PRIVATE KEY)-----\n[^-]+-----END \1-----\n")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n")
LARGEST = 1 << 16  # octets of a chain
# Units that have yet to read what was replaced, should this program end in between.
PENDING = Path("/run/acme/pending")


class Unsound(Exception):
    """Why something is not taken."""


def chain(path: Path) -> str:
    """The certificates of a file that somebody else has written, and nothing else of it. Only a plain file of a sensible size is read."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            raise Unsound(f"{path} is no file that could be a certificate")
        text = file.read(LARGEST).decode("ascii", "replace").replace("\r\n", "\n")
    return "".join(match[0] for match in CERTIFICATE.finditer(text))


def openssl(*argv: str) -> str:
    """What OpenSSL says of a certificate; nothing where it cannot read it."""
    return subprocess.run(["openssl", "x509", "-noout", *argv], capture_output=True, text=True, check=False).stdout


def names(path: Path) -> set[str]:
    """The names that the first certificate of a file is for."""
    return {name.lower() for name in re.findall(r"DNS:([^,\s]+)", openssl("-ext", "subjectAltName", "-in", str(path)))}


def end(path: Path) -> datetime.datetime:
    """When it ends."""
    said = openssl("-enddate", "-dateopt", "iso_8601", "-in", str(path)).strip().partition("=")[2]
    return datetime.datetime.fromisoformat(said.replace("Z", "+00:00"))


def check(path: Path, wanted: list[str]) -> None:
    """That a file holds a key, its certificate for these names, and time."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except (ssl.SSLError, ValueError) as problem:
        raise Unsound(f"what the authority has sent is no certificate of the key that is there ({problem})") from problem
    if missing := {name.lower() for name in wanted} - names(path):
        raise Unsound(f"what the authority has sent is not for {', '.join(sorted(missing))}")
    if end(path) <= datetime.datetime.now(datetime.UTC):
        raise Unsound("what the authority has sent has ended")


def install(certificate: dict[str, Any], ready: Path) -> bool:
    """Put what is ready beside its key; whether that was anything new."""
    target = Path(certificate["path"])
    present = target.read_text(encoding="ascii")
    key = KEY.search(present)
    if key is None:
        raise Unsound(f"{target} holds no key; ansible-playbook makes a new one where the file is gone")
    wanted = key[0] + chain(ready)
    if wanted == present:
        lay_down(certificate, wanted)
        return False
    owner = pwd.getpwnam(certificate["owner"])
    handle, new = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    try:
        with open(handle, "w", encoding="ascii") as file:
            file.write(wanted)
            file.flush()
            os.fsync(file.fileno())
            check(Path(new), certificate["names"])
            os.fchmod(file.fileno(), 0o400)
            os.fchown(file.fileno(), owner.pw_uid, 0)
        lay_down(certificate, wanted)
        PENDING.write_text("\n".join([*pending(), *certificate["reload"]]), encoding="ascii")
        os.rename(new, target)
    finally:
        Path(new).unlink(missing_ok=True)
    print(f"{NOTICE}{certificate['name']}: the new certificate is in {target}, until {end(target):%Y-%m-%d}", file=sys.stderr)
    return True


def lay_down(certificate: dict[str, Any], found: str) -> None:
    """Put what signed a certificate where sendmail looks for it, by OpenSSL's hash: of a file it shows the first certificate alone.

    Roots are left out: whoever asked the authority must not be able to say whom sendmail believes in. What is no root is believed by
    nobody for being there.
    """
    if not certificate["intermediates"]:
        return
    directory = Path(certificate["intermediates"])
    directory.mkdir(mode=0o755, exist_ok=True)
    directory.chmod(0o755)
    for match in list(CERTIFICATE.finditer(found))[1:]:
        handle, new = tempfile.mkstemp(dir=directory, prefix=".")
        with open(handle, "w", encoding="ascii") as file:
            file.write(match[0])
            os.fchmod(file.fileno(), 0o444)
        said = openssl("-subject_hash", "-issuer_hash", "-in", new).split()
        if len(said) == 2 and said[0] != said[1]:
            os.rename(new, directory / f"{said[0]}.0")
        else:
            os.unlink(new)


def pending() -> list[str]:
    """Units that have yet to reload, each once."""
    return list(dict.fromkeys(PENDING.read_text(encoding="ascii").split())) if PENDING.exists() else []


def reload_all() -> int:
    """Have those that run read their certificates again; how many could not."""
    failed = 0
    for unit in pending():
        if subprocess.run(["systemctl", "is-active", "--quiet", unit], check=False).returncode == 0:
            done = subprocess.run(["systemctl", "reload", unit], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                failed += 1
                print(
                    f"{ERROR}{unit} did not reload, and still shows the old certificate: {done.stderr.strip()}", file=sys.stderr
                )
    if not failed:
        PENDING.unlink(missing_ok=True)
    return failed


def main() -> int:
    """Install all that is new and sound, then reload."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    failed = 0
    for certificate in settings["certificates"]:
        ready = Path(sys.argv[2]) / "ready" / f"{certificate['name']}.pem"
        target = Path(certificate["path"])
        try:
            if ready.exists() and install(certificate, ready):
                continue
            left = end(target) - datetime.datetime.now(datetime.UTC)
            if not ready.exists():
                print(f"{WARNING}{certificate['name']}: still the first certificate, signed by its own key", file=sys.stderr)
            elif left < datetime.timedelta(days=settings["renew_days"]) / 2:
                print(f"{WARNING}{certificate['name']}: {left.days} days are left of the certificate", file=sys.stderr)
        except (OSError, ValueError, KeyError, Unsound) as problem:
            failed += 1
            print(f"{ERROR}{certificate['name']}: {target} stays as it is: {problem}", file=sys.stderr)
    return 1 if failed + reload_all() else 0


if __name__ == "__main__":
    sys.exit(main())
