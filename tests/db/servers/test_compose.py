"""`invoke up` and `down` with a Docker that is played by a script: another checkout's container is left alone."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from db.errors import Failure, Refusal
from db.servers import compose

DOCKER = """#!{python}
import os, sys
folder, arguments = os.path.dirname(__file__), sys.argv[1:]
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(" ".join(arguments) + "\\n")
if arguments[:2] == ["compose", "version"]:
    sys.exit({version})
if arguments[:2] == ["compose", "config"]:
    port = open(os.path.join(folder, "port")).read()
    print('{{"name": "sudamr", "services": {{"postgres": {{"ports": [{{"published": "' + port + '"}}]}}}}}}')
if arguments == ["compose", "up", "--fails"]:
    sys.exit(18)
if arguments[0] == "ps":
    print(open(os.path.join(folder, "containers")).read(), end="")
"""


class Docker:
    """A folder on PATH with the script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.write(version=0)
        self.containers("")

    def write(self, version: int) -> None:
        (self.folder / "docker").write_text(DOCKER.format(python=sys.executable, version=version))
        (self.folder / "docker").chmod(0o755)

    def containers(self, lines: str) -> None:
        (self.folder / "containers").write_text(lines)

    def port(self, port: int) -> None:
        (self.folder / "port").write_text(str(port))

    @property
    def began(self) -> bool:
        """Return True if anything was started or stopped."""
        return bool(re.search(r"^compose (up|down)", (self.folder / "calls").read_text(), re.MULTILINE))


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{made.folder}{os.pathsep}{os.environ['PATH']}")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        made.port(free.getsockname()[1])
    return made


@pytest.fixture
def taken(docker: Docker) -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        docker.port(other.getsockname()[1])
        yield other.getsockname()[1]


@pytest.fixture
def checkout_folder(tmp_path: Path) -> Path:
    (tmp_path / "sudamr").mkdir()
    return tmp_path / "sudamr"


def refusal(folder: Path, *arguments: str) -> str:
    with pytest.raises(Refusal) as refused:
        compose.run(folder, *arguments)
    return str(refused.value)


@pytest.mark.plan(1)
def test_a_container_of_ones_own_is_started_and_stopped(docker: Docker, checkout_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(checkout_folder)
    compose.run(checkout_folder, "up", "--detach")
    docker.containers(f"running {tmp_path / 'link'}\n")
    compose.run(checkout_folder, "up", "--detach")
    compose.run(checkout_folder, "down")
    assert docker.began


def test_ones_own_container_that_runs_has_the_port(docker: Docker, checkout_folder: Path, taken: int) -> None:
    docker.containers(f"running {checkout_folder}\n")
    compose.run(checkout_folder, "up")


@pytest.mark.parametrize("state", ["running", "exited"])
@pytest.mark.parametrize("verb", ["up", "down"])
def test_another_checkouts_container_of_the_same_name_is_left_alone(
    docker: Docker, checkout_folder: Path, state: str, verb: str
) -> None:
    docker.containers(f"{state} /srv/my games/sudamr\n")
    message = refusal(checkout_folder, verb)
    assert "that of /srv/my games/sudamr, also called sudamr" in message
    assert not docker.began


def test_a_port_that_is_taken_is_named_with_two_lines_that_help(
    docker: Docker, checkout_folder: Path, taken: int
) -> None:
    message = refusal(checkout_folder, "up")
    assert f"the port 127.0.0.1:{taken} to be free" in message
    assert not docker.began
    written = dict(re.findall(r"^  (\w+)=(\S+)$", message, re.MULTILINE))
    assert set(written) == {"DEVELOPMENT_PORT", "COMPOSE_PROJECT_NAME"}
    docker.port(int(written["DEVELOPMENT_PORT"]))
    compose.run(checkout_folder, "up")


def test_what_docker_can_not_do_is_a_failure_whatever_its_code_means_there(
    docker: Docker, checkout_folder: Path
) -> None:
    with pytest.raises(Failure, match="docker compose up to succeed; found its exit code 18") as failed:
        compose.run(checkout_folder, "up", "--fails")
    assert failed.value.exit_code == 1


def test_without_the_plugin_or_without_docker_it_is_refused(
    docker: Docker, checkout_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.write(version=1)
    assert "docker with its compose plugin" in refusal(checkout_folder, "up")
    monkeypatch.setenv("PATH", str(checkout_folder))
    assert "docker with its compose plugin" in refusal(checkout_folder, "up")


@pytest.mark.plan(1)
def test_the_development_postgres_is_the_one_of_the_plan() -> None:
    whole = YAML(typ="safe").load(Path(__file__).parents[3] / "compose.yaml")
    service = whole["services"]["postgres"]
    assert (service["image"], service["restart"]) == ("postgres:15", "always")
    assert service["environment"] == dict.fromkeys(("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"), "sudamr")
    assert service["ports"] == ["127.0.0.1:${DEVELOPMENT_PORT:-5432}:5432"]
    assert service["volumes"] == ["postgres_data:/var/lib/postgresql/data"]
    assert list(whole["volumes"]) == ["postgres_data"]


def test_compose_reads_the_same_variable_as_environments_toml() -> None:
    root = Path(__file__).parents[3]
    assert "127.0.0.1:${DEVELOPMENT_PORT:-5432}:5432" in (root / "compose.yaml").read_text()
    assert "127.0.0.1:${DEVELOPMENT_PORT:-5432}/" in (root / "environments.toml").read_text()
