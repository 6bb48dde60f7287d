"""Says how service processes that do not answer are started; on development, with the very command.

`services` names private ports, while `invoke serve` takes the port for players: the one follows from the other by the
settings in the pointer's file and those that are exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import urlsplit

from db import environments
from db.environments import DEVELOPMENT, Environment
from db.errors import Refusal
from game.settings import PRIVATE_ABOVE, Settings

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class StartCommand:
    """Processes of the service that one command starts. command: "" where only the machine's owner knows it."""

    urls: tuple[str, ...]
    command: str

    def sentence(self, clause: str = "") -> str:
        """Return what to do, without a full stop. clause: said of the URLs."""
        return f"start the service at {', '.join(self.urls)}{clause}{f': {self.command}' if self.command else ''}"


@dataclass(frozen=True, slots=True)
class _Ports:
    """The ports that `invoke serve` takes without options. private: None if PRIVATE_PORT is set nowhere."""

    port: int
    private: int | None
    processes: int

    @property
    def own(self) -> range:
        """Return the private ports of a supervisor that is started without options."""
        first = self.port + PRIVATE_ABOVE if self.private is None else self.private
        return range(first, first + self.processes)


def starts(env: Environment, silent: Iterable[str]) -> tuple[StartCommand, ...]:
    """Return how the processes at these URLs are started: those that one supervisor serves by one command.

    Raises nothing: without settings that can be read, the command has no options, and names what is wrong itself.
    """
    urls = tuple(silent)
    if not urls:
        return ()
    ports = {url: _port(url) for url in urls}
    if env.name != DEVELOPMENT or 0 in ports.values():
        return (StartCommand(urls, ""),)
    serve = f"invoke serve --env {env.name}"
    settings = _settings(env)
    if settings is None:
        return (StartCommand(urls, serve),)
    return tuple(
        StartCommand(tuple(group), serve if first in settings.own else _elsewhere(serve, settings, first, len(group)))
        for first, group in _in_a_row(ports, settings.own)
    )


def _elsewhere(serve: str, settings: _Ports, first: int, processes: int) -> str:
    """Return the command for ports that the settings do not name."""
    private = "" if settings.private is None else f"PRIVATE_PORT={first} "  # An exported one wins over the file's.
    port = first - PRIVATE_ABOVE if settings.private is None else settings.port + first - settings.private
    if port < 1:
        return ""
    number = "" if processes == settings.processes else f" --processes {processes}"
    return f"{private}{serve} --port {port}{number}"


def _in_a_row(ports: dict[str, int], own: range) -> Iterator[tuple[int, Sequence[str]]]:
    """Yield the URLs whose ports follow one another, within `own` or outside, with the first port."""
    ordered = sorted(ports, key=lambda url: ports[url])
    group = ordered[:1]
    for before, url in pairwise(ordered):
        if ports[url] != ports[before] + 1 or (ports[url] in own) != (ports[before] in own):
            yield ports[group[0]], group
            group = []
        group.append(url)
    yield ports[group[0]], group


def _port(url: str) -> int:
    """Return the port of a URL of this machine; 0 for any other URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname in THIS_MACHINE:
            return parts.port or 0
    return 0


def _settings(env: Environment) -> _Ports | None:
    def number(name: str) -> int | None:
        text = environments.of_the_service(env, name.upper())
        return int(text) if text else Settings.model_fields[name].default

    try:
        port, processes = number("port"), number("processes")
        assert port is not None
        assert processes is not None
        return _Ports(port, number("private_port"), processes)
    except (Refusal, ValueError):
        return None
