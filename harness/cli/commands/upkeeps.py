"""`invoke upkeep`: runs the jobs, with a service of its own to play on a restored copy."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path

from db import environments
from db.console.output import Output
from db.console.progress import Progress
from db.cutover.ports import SmokeResult
from db.files import private
from db.servers.reaper_client import ReaperClient
from db.upkeep import jobs
from db.upkeep.jobs import Report
from game.urls import PostgresUrl
from harness.load.service_processes import Service
from harness.smoke import smoke


def run(environment: str, dump: bool, progress: Progress) -> Report:
    """Do every job that is due; dump: the backups in any case."""
    return jobs.run(environments.load(environment), jobs.UpkeepConfig(play, dump=dump, progress=progress))


def play(url: PostgresUrl) -> SmokeResult:
    """Start the service on a database of ours, by its owner, and play the smoke scenarios on it."""
    folder = Path(tempfile.gettempdir()) / f"sudamr-upkeep-{secrets.token_hex(6)}"
    with ExitStack() as stack:
        reaper = ReaperClient()
        stack.callback(reaper.close)
        reaper.folder(folder)
        private.make_folder(folder)
        service = Service(folder, reaper, processes=1)
        stack.callback(service.stop)
        service.start(url.as_text())
        return smoke.run(service.urls, url, pass_token="", operator_token=service.operator_token)


def show(report: Report, out: Output) -> None:
    """Print each job with what was done."""
    rows = [(job.name, job.status, job.seconds, job.detail) for job in report.jobs]
    out.table(f"upkeep of {report.environment}", ("job", "status", "seconds", "detail"), rows)
