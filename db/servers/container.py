"""A server in a container of the official image, by testcontainers; removed by name by the reaper.

The first start pulls the image, where it is missing. A tmpfs holds the data, so a container that is restarted is empty.
"""

from __future__ import annotations

import gc
import getpass
import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.docker_client import DockerClient

from db.errors import Failure
from db.servers.readiness import ServerEnded, wait
from db.servers.reaper_client import ReaperClient
from db.servers.server_info import NO_TLS, ServerInfo, new_logins
from db.servers.settings import MAJOR, as_options

IMAGE = f"postgres:{MAJOR}"
DATA = "/var/lib/postgresql/data"
SHARED_MEMORY = "256m"
"""A container's own /dev/shm has 64 MB, which a parallel query can exhaust."""

ANSWER_SECONDS = 15
SILENCE_SECONDS = 60
"""How long the daemon may say nothing while it pulls: without a network, a pull ends so."""


class Docker:
    """The official image of our version, on the daemon that the environment names."""

    kind = "docker"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def missing(self) -> str | None:
        """Return why docker can't be used, or None. Pulls the image if it is not on this machine."""
        with _swept():
            try:
                with _daemon(ANSWER_SECONDS) as client:
                    has_image = bool(client.images.list(IMAGE))
            except (DockerException, RequestException, OSError) as error:
                return f"its daemon does not answer ({_root(error)})"
        return None if has_image else self._pull()

    def _pull(self) -> str | None:
        self._say(f"pulling {IMAGE}")
        try:
            with _daemon(SILENCE_SECONDS) as client:
                client.images.pull(IMAGE)
        except (DockerException, RequestException, OSError) as error:
            return f"{IMAGE} is not here and can't be pulled ({_root(error)})"
        return None

    def version(self) -> str:
        """Return the image, and the version that it names in its environment."""
        return f"{self._named} ({IMAGE})" if self._named else IMAGE

    @cached_property
    def _named(self) -> str:
        with _daemon(ANSWER_SECONDS) as client:
            pairs = [pair.partition("=") for pair in client.images.get(IMAGE).attrs["Config"]["Env"] or []]
        named = {name: value for name, _, value in pairs}
        return str(named.get("PG_VERSION", "")).partition("-")[0]

    def launch(self, run: str, reaper: ReaperClient, settings: Mapping[str, str]) -> ServerInfo:
        """Start a container and wait until its server answers. Raises Failure if either does not start."""
        testcontainers_config.ryuk_disabled = True  # the reaper does its work, and needs no image of its own
        logins = new_logins()
        name = f"sudamr-{run}"
        login = logins["superuser"]
        container = _Container(IMAGE, username=login.user, password=login.password, dbname="postgres", driver=None)
        container.with_name(name).with_tmpfs_mount(DATA).with_command(["postgres", *as_options(settings)])
        container.with_env("PGDATA", DATA).with_env("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C --no-sync")
        container.with_kwargs(labels=_labels(run), shm_size=SHARED_MEMORY)
        reaper.container(name, made=False)
        try:
            try:
                container.start()
            finally:
                reaper.container(name, made=True)
            host, port = _address(container)
            wait(host, port, login, ended=lambda: _ended(container))
        except ServerEnded:
            raise Failure("the server to start", _last_lines(container), where=f"container {name}") from None
        except (DockerException, RequestException) as error:
            raise Failure("a container", _root(error), where=f"container {name}") from None
        finally:
            container.get_docker_client().client.close()
        return ServerInfo(
            kind=self.kind,
            run=run,
            host=host,
            port=port,
            logins=logins,
            parameters=NO_TLS,
            container=name,
            remains=f"docker rm --force --volumes {name}",
        )


class _Container(PostgresContainer):
    """The library's container without its wait, which asks once a second: `ready` asks fifty times."""

    def _connect(self) -> None:
        pass


@contextmanager
def _daemon(seconds: int) -> Iterator[docker.DockerClient]:
    client = DockerClient(timeout=seconds).client
    try:
        yield client
    finally:
        client.close()


@contextmanager
def _swept() -> Iterator[None]:
    """Collect what the body leaves open, without ResourceWarnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        # A client that could not connect leaves its socket open. Collected later, it would warn in another test.
        yield
        gc.collect()


def _labels(run: str) -> dict[str, str]:
    """Return the labels by which a person who finds the container sees which process of which user started it."""
    return {"sudamr.run": run, "sudamr.owner": f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"}


def _address(container: PostgresContainer) -> tuple[str, int]:
    host = container.get_container_host_ip()
    # By name, the address of version 6 comes first, where a container may not listen: each connection would try twice.
    return "127.0.0.1" if host == "localhost" else host, int(container.get_exposed_port(5432))


def _ended(container: PostgresContainer) -> bool:
    wrapped = container.get_wrapped_container()
    wrapped.reload()
    return str(wrapped.status) in {"exited", "dead"}


def _last_lines(container: PostgresContainer) -> str:
    lines = b"".join(container.get_logs()).decode(errors="replace").strip().splitlines()
    return " | ".join(lines[-5:]) or "it said nothing"


def _root(error: BaseException) -> str:
    """Return the first cause, on one line: "No such file or directory" rather than three libraries' wrappings of it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    text = getattr(error, "strerror", None) or getattr(error, "explanation", None) or error
    return str(text).strip().partition("\n")[0] or type(error).__name__
