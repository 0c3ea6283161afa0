"""The mail that `make site` sends, as far as no lab is needed."""

from __future__ import annotations

from pathlib import Path

import mail
import pytest


def test_a_mailbox_with_bytes_of_another_encoding_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nprintf 'caf\\351 id@example\\n'\n", encoding="ascii")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert "id@example" in mail.inside("any", "cat", "mailbox")
