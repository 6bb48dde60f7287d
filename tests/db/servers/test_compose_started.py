"""The Postgres of each compose file, started by Docker on a free port, under a name of the test's own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.lacking import lacks
from tests.fixtures.waiting import until

ROOT = Path(__file__).parents[3]
SCENARIO = "scenarios/equip/item_is_taken_off_once.yaml"


def program() -> list[str]:
    """Return Docker Compose as it is installed: the plugin, or the program of its own that Debian has."""
    if not works("docker", "info"):
        lacks("Docker does not answer: docker info")
    if works("docker", "compose", "version"):
        return ["docker", "compose"]
    if not works("docker-compose", "version"):
        lacks("no Docker Compose: apt-get install -y docker-compose")
    return ["docker-compose"]


def works(*command: str) -> bool:
    return bool(shutil.which(command[0])) and not subprocess.run(command, capture_output=True, check=False).returncode


class Project:
    """A compose file under a project name of its own, on a port that Docker chooses."""

    def __init__(self, file: str) -> None:
        self._begin = [*program(), "--project-name", f"sudamr-test-{secrets.token_hex(4)}", "--file", str(ROOT / file)]

    def run(self, *arguments: str) -> str:
        free = {"DEVELOPMENT_PORT": "0", "TEST_PORT": "0"}
        done = subprocess.run(
            [*self._begin, *arguments], capture_output=True, text=True, check=False, env=os.environ | free
        )
        assert not done.returncode, done.stderr
        return done.stdout

    def up(self, service: str) -> str:
        """Start the service and return its URL, once it answers."""
        self.run("up", "--detach")
        url = f"postgresql://sudamr:sudamr@{self.run('port', service, '5432').strip()}/sudamr"

        def left() -> list[str]:
            try:
                psycopg.connect(url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                return [str(error)]
            return []

        until(left)
        return url


@pytest.fixture
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    made = Project(request.param)
    yield made
    made.run("down", "--volumes")


@pytest.mark.plan(1)
@pytest.mark.parametrize("project", ["compose.yaml"], indirect=True)
def test_the_volume_outlives_the_container(project: Project) -> None:
    with psycopg.connect(project.up("postgres")) as conn:
        conn.execute("create table kept as select 7 as number")
    project.run("down")
    with psycopg.connect(project.up("postgres")) as conn:
        assert conn.execute("select number from kept").fetchall() == [(7,)]
        assert str(conn.info.parameter_status("server_version")).startswith("15.")


@pytest.mark.plan(5)
@pytest.mark.parametrize("project", ["compose.test.yaml"], indirect=True)
def test_a_scenario_runs_on_the_postgres_of_the_tests_compose_file(project: Project) -> None:
    url = project.up("postgres-test")
    stated = re.search(
        r"^#   PGPASSWORD=(\S+) \S+pytest \S+ (--postgres=\S+)$", (ROOT / "compose.test.yaml").read_text("utf-8"), re.M
    )
    assert stated
    option = stated[2].replace("127.0.0.1:55432", url.partition("@")[2].partition("/")[0])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", SCENARIO, "-q", "-n0", "-p", "no:cacheprovider", option],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PGPASSWORD": stated[1]},
    )
    assert not done.returncode, done.stdout + done.stderr
    assert " passed" in done.stdout
