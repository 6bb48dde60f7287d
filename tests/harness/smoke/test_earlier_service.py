"""The service of an earlier commit plays its smoke on the schema of this one: it serves while a revision is applied."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from db.servers.reaper_client import ReaperClient
from harness.databases import Database
from harness.load.service_processes import Service
from harness.smoke import smoke
from tests.fixtures import earlier_commit

MARK = "\n__import__('pathlib').Path(__file__).with_name('was-loaded').touch()\n"
COMMITS = {"the commit before": lambda: earlier_commit.BEFORE, "newest": earlier_commit.before_the_newest_revision}


@pytest.mark.core
@pytest.mark.plan(31)
@pytest.mark.parametrize("commit", COMMITS)
def test_its_smoke_passes_on_the_new_schema(database: Database, tmp_path: Path, commit: str) -> None:
    tree = earlier_commit.extracted(COMMITS[commit](), tmp_path / "earlier")
    package = tree / "game" / "__init__.py"
    package.write_text(package.read_text() + MARK)
    folder = tmp_path / "service"
    folder.mkdir()
    with closing(ReaperClient()) as reaper:
        service = Service(folder, reaper, processes=1, code=tree)
        service.start(database.service.as_text())
        try:
            played = smoke.run(
                service.urls,
                database.owner,
                pass_token="",
                operator_token=service.operator_token,
                folder=tree / "scenarios",
            )
        finally:
            service.stop()
    assert (played.failed, played.passed > 0) == ((), True)
    assert (tree / "game" / "was-loaded").exists(), "the earlier commit's code is what ran"
