"""Asks whether a command may change an environment: once, after its checks and before its first change.

Every task that changes a database or file of an environment calls a Confirmation; tests/test_asking.py fails for a task
that is not listed as one that reads or one that changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from db import ops
from db.environments import Environment
from db.errors import Refusal
from db.ops import checkout

CONFIRMED = ("production",)


@dataclass(frozen=True, slots=True)
class Change:
    """The change that a command is about to make.

    does: a clause, such as "empties …". database: it changes the environment's Postgres.
    """

    environment: Environment
    does: str
    database: bool = True


Confirm: TypeAlias = Callable[[Change], None]


def unasked(*changes: Change) -> None:
    """Confirm nothing: for callers that have asked already, or need not ask."""
    del changes


def require_own(environment: Environment) -> None:
    """Check that a development database is this checkout's. Raises Refusal naming the owner. Others pass unasked."""
    if environment.name in checkout.OWNED:
        with ops.connect(environment.target_direct) as conn:
            ops.require_marker(conn, environment.name)
            checkout.require_own(conn, environment.name)


class Terminal(Protocol):
    """The terminal on which people are told of a change, and asked."""

    @property
    def can_ask(self) -> bool:
        """Return True if a person sees the question and can type the answer."""
        ...

    def tell(self, line: str) -> None:
        """Print the line for a person."""
        ...

    def ask(self, question: str) -> str:
        """Return what was typed; "" at Ctrl-D."""
        ...


class Confirmation:
    """A command's one permission to change its environment; call it with the change.

    Raises Refusal at once if --confirm names another environment, or if the name is needed and nobody can be asked.
    """

    def __init__(self, name: str, terminal: Terminal, *, yes: bool, confirm: str, dry_run: bool = False) -> None:
        require_same_name(name, confirm)
        self._name, self._terminal, self._dry_run = name, terminal, dry_run
        self._given = False
        self._ask = not yes and not confirm and terminal.can_ask and name in CONFIRMED
        if not self._ask and not dry_run:
            typed = "--yes without --confirm" if yes else "no terminal to type it on"
            require_confirmation(name, confirm, typed)

    def __call__(self, change: Change) -> None:
        """Print the change, and ask if need be. Raises Refusal for another name, or another checkout's database.

        Does nothing in a dry run, or if it was called before.
        """
        if self._given or self._dry_run:
            return
        if change.database:
            require_own(change.environment)
        self._terminal.tell(f"This {change.does}.")
        if self._ask:
            require_confirmation(self._name, self._terminal.ask(f"Type {self._name} to go on: "))
        self._given = True


def require_confirmation(name: str, typed: str | None, reason: str = "nothing") -> None:
    """Check that production was named a second time, typed or by --confirm. Raises Refusal; found: for it."""
    if name in CONFIRMED and typed != name:
        raise Refusal(
            f"the name {name} typed as confirmation",
            "another name" if typed else reason,
            do=f"Nothing was changed. Run it again and type {name} when asked, or add --confirm {name}.",
        )


def require_same_name(name: str, confirm: str) -> None:
    """Check that --confirm, if given, names the environment of --env. Raises Refusal, for every environment."""
    if confirm and confirm != name:
        raise Refusal(
            f"--confirm {name}, as --env says" if name else "--env with --confirm",
            f"--confirm {confirm}",
            do="Nothing was begun. Both name the environment to change: correct the wrong one.",
        )
