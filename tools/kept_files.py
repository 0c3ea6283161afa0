"""Keeps files of a host as they are and puts them back: what `tools/mutants.py` runs there before and after a change.

    python3 -c "$(cat tools/kept_files.py)" keep|look|put_back|kept     # with the arguments as JSON on standard input

Only the standard library is used. A path is a file, a directory (itself, not what is in it) or nothing at all; content, owner,
group, mode and time of change come back, in place: the file stays the same file to whoever watches it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

INDEX = "index.json"


def described(path: Path) -> dict[str, Any]:
    """What a path is. Times are left out: who compares wants to know whether anything matters."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return {"kind": "nothing"}
    out: dict[str, Any] = {"mode": oct(stat.S_IMODE(found.st_mode)), "owner": found.st_uid, "group": found.st_gid}
    if stat.S_ISDIR(found.st_mode):
        return {"kind": "directory", **out}
    if stat.S_ISREG(found.st_mode):
        return {"kind": "file", **out, "sum": hashlib.sha256(path.read_bytes()).hexdigest()}
    raise SystemExit(f"{path} is neither a file nor a directory.")


def look(paths: list[str]) -> dict[str, dict[str, Any]]:
    """What paths are."""
    return {path: described(Path(path)) for path in paths}


def keep(paths: list[str], directory: str) -> None:
    """Copy what paths are into a directory of its own; refuses where one is there already."""
    place = Path(directory)
    place.mkdir(mode=0o700)
    entries = []
    for number, name in enumerate(paths):
        entry = {"path": name, **described(Path(name))}
        if entry["kind"] != "nothing":
            found = Path(name).lstat()
            entry["times"] = [found.st_atime_ns, found.st_mtime_ns]
        if entry["kind"] == "file":
            shutil.copyfile(name, place / str(number))
        entries.append(entry)
    # Last: a directory without an index is one in which not everything was kept, and nothing was changed yet.
    (place / INDEX).write_text(json.dumps(entries), encoding="utf-8")


def put_back(directory: str) -> None:
    """Make paths what they were, and forget the copies."""
    place = Path(directory)
    if (place / INDEX).exists():
        entries = json.loads((place / INDEX).read_text(encoding="utf-8"))
        # From the innermost outwards: a directory gets its time back after what is in it.
        for number, entry in sorted(enumerate(entries), key=lambda pair: -pair[1]["path"].count("/")):
            restore(Path(entry["path"]), entry, place / str(number))
    shutil.rmtree(place, ignore_errors=False)


def restore(path: Path, entry: dict[str, Any], copy: Path) -> None:
    """Make one path what it was."""
    if described(path)["kind"] not in (entry["kind"], "nothing"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if entry["kind"] == "nothing":
        if described(path)["kind"] == "directory":
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return
    if entry["kind"] == "directory":
        path.mkdir(exist_ok=True)
    elif described(path).get("sum") != entry["sum"]:
        # Not where nothing differs: a program that runs cannot be written.
        shutil.copyfile(copy, path)
    os.chown(path, entry["owner"], entry["group"])
    os.chmod(path, int(entry["mode"], 8))
    os.utime(path, ns=tuple(entry["times"]))


def kept(directory: str) -> bool:
    """Whether something is kept that was not put back."""
    return Path(directory).exists()


def main() -> None:
    """Run the function that the first argument names."""
    functions: dict[str, Callable[..., Any]] = {"keep": keep, "look": look, "put_back": put_back, "kept": kept}
    print(json.dumps(functions[sys.argv[1]](**json.load(sys.stdin))))


if __name__ == "__main__":
    main()
