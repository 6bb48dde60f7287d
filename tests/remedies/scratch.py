"""A scratch folder with an environments.toml of its own, in which the tasks are run as a person runs them."""

from __future__ import annotations

import io
import re
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from invoke.program import Program

import tasks
from db.samples import seed
from db.servers import Server
from game.urls import PostgresUrl
from tests.fixtures.own_roles import OwnDatabase, own_database
from tests.remedies.vocabulary import STATEMENT

SECRETS = (
    "CHANCE_SECRET=dice-of-the-tests-only\nTOKEN_SECRET=token-secret-of-the-tests\nOPERATOR_TOKEN=operator-token-here\n"
)
HOLE = re.compile(r"\\\{[a-z_]*\\\}")
OPTIONS = re.compile(r"--[a-z][a-z-]*(?: (?:[A-Z]+\b|\d+|[a-z]+(?=[.:,]|$)))?")


@dataclass(frozen=True)
class Refused:
    """A command that ended with a refusal. remedy: the last line of what it printed."""

    argv: tuple[str, ...]
    code: int
    printed: str
    remedy: str


@dataclass
class Scratch:
    """The folder. values: what [development] of environments.toml says; steps: what was done, for the table."""

    folder: Path
    server: Server
    monkeypatch: pytest.MonkeyPatch
    stack: ExitStack
    template: str
    values: dict[str, str] = field(default_factory=dict)
    refusal: Refused | None = None
    steps: list[str] = field(default_factory=list)

    @cached_property
    def own(self) -> OwnDatabase:
        """A database with roles of its own, made when it is first needed."""
        made = self.stack.enter_context(own_database(self.server))
        self.values |= {"target": quoted(made.service.as_text()), "target_direct": quoted(made.owner.as_text())}
        self.write()
        return made

    @property
    def config(self) -> Path:
        return self.folder / "environments.toml"

    @property
    def legacy(self) -> Path:
        """A legacy file of some players."""
        path = self.folder / "game.db"
        if not path.exists():
            seed.seed_legacy(path, 6, anomalies=False)
        return path

    @property
    def pointer(self) -> Path:
        return self.folder / "service.env"

    def begin(self) -> None:
        nowhere = quoted("postgresql://sudamr:none@127.0.0.1:1/sudamr?schema=game")
        self.values = {
            "legacy": quoted("file:game.db"),
            "target": nowhere,
            "target_direct": nowhere,
            "pointer": '{ path = "service.env" }',
            "snapshots": '{ folder = "snapshots" }',
        }
        self.write()
        self.pointer.write_text(f"DATABASE_URL=file:{self.folder / 'game.db'}\n{SECRETS}")
        self.monkeypatch.chdir(self.folder)

    def write(self, section: str = "development", **changes: str | None) -> None:
        """Write the file, with these keys changed; None takes one out."""
        self.values |= {key: value for key, value in changes.items() if value is not None}
        for key, value in changes.items():
            if value is None:
                self.values.pop(key, None)
        lines = [f"{key} = {value}" for key, value in self.values.items()]
        self.config.write_text("\n".join([f"[{section}]", *lines]) + "\n")

    def migrated(self) -> OwnDatabase:
        """A database that is prepared and migrated."""
        own = self.own
        self.done("prepare", "--env", "development")
        self.done("migrate", "--env", "development")
        return own

    def sql(self, statements: str) -> None:
        """Run SQL as the database's superuser."""
        self.own.run(statements)

    def done(self, *argv: str) -> str:
        """Run a task that has to succeed."""
        code, printed = run(*argv)
        assert code == 0, printed
        return printed

    def refused(self, *argv: str, code: int = 2) -> str:
        """Run the task that is refused; return its remedy, which is the one that this entry is about."""
        result, printed = run(*argv)
        assert result == code, printed
        assert "Traceback" not in printed, printed
        # A run of a move prints first, indented too, which files it read.
        error = re.search(r"^(?:refused|failed|inconclusive) .*", printed, re.MULTILINE | re.DOTALL)
        lines = re.findall(r"^  (\S.*)$", error[0] if error else printed, re.MULTILINE)
        assert lines, f"no remedy: {printed}"
        self.refusal = Refused(argv, result, printed, lines[0])
        assert matches(self.template, lines[0]), lines[0]
        return lines[0]

    def command(self, **names: str) -> None:
        """Run the command that the remedy prints, with the placeholders filled in."""
        assert self.refusal is not None
        result = re.search(
            r"invoke ([a-z.]+(?: --[a-z-]+(?: (?:\"[^\"]*\"|[\w./|-]+?)(?=[ ,;)]|\.?$))?)*)", self.refusal.remedy
        )
        assert result is not None, self.refusal.remedy
        text = result[1]
        for name, value in names.items():
            text = re.sub(rf"\b{name}\b", shlex.quote(value), text)
        self.steps.append(f"invoke {text}")
        self.done(*shlex.split(text))

    def statements(self) -> None:
        """Run the SQL that the remedy prints."""
        assert self.refusal is not None
        result = " ".join(STATEMENT.findall(self.refusal.remedy))
        assert result, self.refusal.remedy
        self.steps.append(result)
        self.sql(result)

    def did(self, step: str) -> None:
        """Note an edit that was made by hand."""
        self.steps.append(step)

    def works(self, *argv: str) -> str:
        """Run the first command again, or the one that the remedy makes of it."""
        assert self.refusal is not None
        again = argv or self.refusal.argv
        self.steps.append(f"invoke {shlex.join(again)}")
        return self.done(*again)

    def with_options(self, **names: str) -> str:
        """Run the first command with the options that the remedy prints."""
        assert self.refusal is not None
        result = " ".join(OPTIONS.findall(self.refusal.remedy))
        assert result, self.refusal.remedy
        for name, value in names.items():
            result = re.sub(rf"\b{name}\b", value, result)
        added = shlex.split(result)
        kept = [
            one
            for n, one in enumerate(self.refusal.argv)
            if one not in added and (n == 0 or self.refusal.argv[n - 1] not in added)
        ]
        return self.works(*kept, *added)

    def without(self, option: str, *, value: bool = False) -> str:
        """Run the first command without an option that the remedy says to leave out."""
        assert self.refusal is not None
        assert option in self.refusal.remedy
        argv = list(self.refusal.argv)
        position = argv.index(option)
        del argv[position : position + 1 + value]
        return self.works(*argv)


Follow: TypeAlias = Callable[[Scratch], Any]
FOLLOWED: dict[str, tuple[str, Follow]] = {}
"""Every entry by its name: the remedy as the source has it, and what makes the refusal, follows it and tries again."""


def follows(template: str) -> Callable[[Follow], Follow]:
    """Enter a function into the catalogue; its name is the refusal in words."""

    def enter(function: Follow) -> Follow:
        name = function.__name__.strip("_").replace("_", " ")
        assert name not in FOLLOWED, name
        FOLLOWED[name] = (template, function)
        return function

    return enter


def matches(template: str, text: str) -> bool:
    """True if the text is the template with its holes filled."""
    return re.fullmatch(HOLE.sub(".*", re.escape(template)), text) is not None


def quoted(text: str) -> str:
    """Quote the text as a string of TOML."""
    return f"'{text}'"


def run(*argv: str) -> tuple[int, str]:
    """Run a task in this process, as the command line does; the exit code and all that it printed."""
    printed = io.StringIO()
    code: object = 0
    with redirect_stdout(printed), redirect_stderr(printed), _no_terminal():
        try:
            Program(namespace=tasks.namespace, name="invoke").run(["invoke", *argv])
        except SystemExit as ended:
            code = ended.code
    return (code if isinstance(code, int) else int(code is not None)), printed.getvalue()


@contextmanager
def _no_terminal() -> Iterator[None]:
    before, sys.stdin = sys.stdin, io.StringIO()
    try:
        yield
    finally:
        sys.stdin = before


@contextmanager
def scratch(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, template: str) -> Iterator[Scratch]:
    """Yield a new scratch folder with its environment."""
    with ExitStack() as stack:
        made = Scratch(folder, server, monkeypatch, stack, template)
        made.begin()
        yield made


def another_database(scratch: Scratch) -> PostgresUrl:
    """A second, blank database of the same owner."""
    name = f"{scratch.server.mark}{secrets.token_hex(4)}"
    scratch.sql(f'CREATE DATABASE "{name}" OWNER "{scratch.own.owner.user}"')
    scratch.stack.callback(scratch.server.drop_database, name)
    return scratch.own.owner.with_(dbname=name)
