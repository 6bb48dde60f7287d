"""Run by the audit in its copy, as a test: which processes there are, so that it can be asked what each has loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from db import environments
from db.cutover import services
from db.samples import seed
from db.servers.reaper_client import ReaperClient
from game.urls import LegacyUrl
from harness.load.service_processes import Service

CHILD = "import os, game, db, harness; print(os.getpid())"


def test_every_process_is_named(tmp_path: Path) -> None:
    """Record the ids of this process, a child that was started elsewhere, and those of the real service."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=environments.child_variables(),
    ).stdout
    seed.empty_legacy(tmp_path / "game.db")
    reaper = ReaperClient()
    try:
        service = Service(tmp_path, reaper)
        service.start(LegacyUrl(tmp_path / "game.db").as_text())
        answers = [services.ask(url) for url in service.urls]
        service.stop()
    finally:
        reaper.close()
    serving = [ready.pid for ready in answers if ready]
    assert len(serving) == service.processes
    named = {"test": os.getpid(), "child": int(child), "service": serving}
    Path(__file__).with_suffix(".json").write_text(json.dumps(named))
