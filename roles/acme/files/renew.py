"""Asks an ACME authority for the certificates that are due.

    renew.py SETTINGS STATE

SETTINGS is a file of JSON that the role acme writes, STATE a directory of this program's own. It has no key but that of its account with
the authority: requests are made elsewhere, and hold the public halves of keys that it cannot read. What comes back lies in
STATE/ready/NAME.pem, where install.py looks for it. Where nothing comes, what is there stays.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

LEGO = "/usr/bin/lego"
# How serious a line is, for the journal (sd-daemon(3)).
ERROR, NOTICE = "<3>", "<5>"
FORGOTTEN = re.compile(r"accountDoesNotExist|[Aa]ccount \S+ not found")


def due(begin: datetime.datetime, end: datetime.datetime, now: datetime.datetime, days: int) -> bool:
    """Whether a certificate is to be renewed: so many days before its end, but never in the first half of its life."""
    return end - now < min(datetime.timedelta(days=days), (end - begin) / 2)


def dates(certificate: Path) -> tuple[datetime.datetime, datetime.datetime]:
    """When a certificate begins and ends, by OpenSSL."""
    argv = ["openssl", "x509", "-noout", "-dates", "-dateopt", "iso_8601", "-in", str(certificate)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    begin, end = (
        datetime.datetime.fromisoformat(line.partition("=")[2].replace("Z", "+00:00")) for line in said.split("\n")[:2]
    )
    return begin, end


def wanted(request: Path, ready: Path, days: int, now: datetime.datetime) -> bool:
    """Whether a certificate has to be asked for: there is none of this request, or it is due."""
    asked = ready.with_suffix(".csr")
    try:
        if asked.read_bytes() != request.read_bytes():
            return True
        return due(*dates(ready), now, days)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return True


def put(path: Path, content: bytes) -> None:
    """A file as a whole, by a rename."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(content)
    new.chmod(0o644)
    new.rename(path)


def lego(settings: dict[str, Any], request: Path, state: Path) -> str:
    """Have lego ask for what is in a request; what it said where it failed, empty where it did not."""
    argv = [LEGO, "--accept-tos", "--server", settings["directory"], "--email", settings["contact"]]
    argv += ["--path", str(state / "lego"), "--csr", str(request), "--http", "--http.port", f":{settings['port']}", "run"]
    more = {"LEGO_CA_CERTIFICATES": settings["authority"]} if settings["authority"] else {}
    done = subprocess.run(
        argv, env=os.environ | more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600
    )
    said = " / ".join(line.strip() for line in done.stdout.splitlines()[-8:] if line.strip())
    return "" if done.returncode == 0 else said or "no word of lego's"


def ask(settings: dict[str, Any], certificate: dict[str, Any], request: Path, state: Path) -> bytes:
    """Have the authority sign a request: the certificate, and those that it was signed by."""
    said = lego(settings, request, state)
    # An authority that has begun anew, or forgotten an account that was idle for long: another one is as good.
    if FORGOTTEN.search(said):
        shutil.rmtree(state / "lego/accounts")
        said = lego(settings, request, state)
    if said:
        raise ValueError(said)
    return (state / "lego/certificates" / f"{certificate['names'][0]}.crt").read_bytes()


def main() -> int:
    """Ask for each that is wanted. One that cannot be had keeps no other from being asked for."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    state = Path(sys.argv[2])
    (state / "ready").mkdir(mode=0o755, exist_ok=True)
    failed = 0
    for certificate in settings["certificates"]:
        name = certificate["name"]
        request, ready = Path(settings["requests"]) / f"{name}.csr", state / "ready" / f"{name}.pem"
        if not wanted(request, ready, settings["renew_days"], datetime.datetime.now(datetime.UTC)):
            continue
        try:
            asked = request.read_bytes()
            put(ready, ask(settings, certificate, request, state))
            put(ready.with_suffix(".csr"), asked)
            print(f"{NOTICE}{name}: a new certificate, until {dates(ready)[1]:%Y-%m-%d}", file=sys.stderr)
        except (OSError, ValueError, subprocess.SubprocessError) as problem:
            failed += 1
            print(f"{ERROR}{name}: no new certificate, the old one stays: {problem}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
