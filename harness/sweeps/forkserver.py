"""A process that carries out commands until it is killed: the application, as SIGKILL finds it.

Run as `python -m harness.sweeps.forkserver`, it stays as it is and forks for each case: a fresh application costs a
fork, not an interpreter. It speaks JSON by the line. {"store": URL} makes an application, which answers with its
process id; {"command": …} has it carry one out; {"died": code} is said of one that ended. The end of its input ends
it. On a legacy file, {"die_at": n} has the application kill itself before its n-th statement from there on; its answer
counts as one. {"synced": folder}, beside the store, has it copy the file there whenever it is synced.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

from sqlalchemy.engine.interfaces import DBAPIConnection

import game
from db import environments
from game import urls
from game.dispatch import Request, dispatch
from game.errors import Refused, StoreUnavailable
from game.legacy.store import LegacyStore
from game.postgres.store import PostgresStore
from game.rules.chance import Chance
from game.rules.commands import decode
from game.unit_of_work import Store
from harness.play.defects import Defect, Raised
from harness.play.requests import SEED, PreparedRequest, moving
from harness.sweeps.power_loss import SyncedCopies


class Died(Exception):
    """The application ended before it answered; `killed`: by SIGKILL."""

    def __init__(self, *, killed: bool) -> None:
        super().__init__()
        self.killed = killed


class CrashableWorker:
    """The owner's side: one application at a time, in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.sweeps.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for pytest alone; this process ends with its input.
            env=environments.child_variables({"PYTHONPATH": str(Path(game.__file__).parent.parent)}),
        )
        self.pid = 0

    def start(self, store: str, synced: Path | None = None) -> None:
        """Start a fresh application on the store; `pid` is its process. Ends the one before, if a case left it.

        synced: a folder for copies of a legacy file as it was synced last.
        """
        self.end()
        self.pid = int(self._ask(store=store, synced=None if synced is None else str(synced))["pid"])

    def kill(self) -> None:
        """Kill the worker with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def lose(self) -> None:
        """Kill the worker between two commands, and wait until it is gone."""
        self.kill()
        with suppress(Died):
            self._hear()

    def die_at(self, statement: int) -> None:
        """Have the application kill itself before its n-th statement from now, n from 0; on a legacy file only."""
        self._ask(die_at=statement)

    def statements(self) -> list[str]:
        """Return the statements that it ran since `die_at`."""
        ran: list[str] = self._ask(statements=True)["statements"]
        return ran

    def carry_out(self, prepared: PreparedRequest) -> str | None:
        """Return the answer in words; None where the store could not answer. Raises Died."""
        request, action = prepared.request, prepared.turn.action
        fields = prepared.aliases.to_ids(dict(action.fields))
        answer = self._ask(
            command={
                "player": request.player,
                "request": request.request_id,
                "do": action.do,
                "fields": fields,
                "dice": dict(action.dice),
                "now_ms": prepared.now_ms,
            }
        )
        if "raised" in answer:
            raise Raised(prepared.turn.path, prepared.label, Defect(**answer["raised"]))
        if "refused" in answer:
            return f"refused {answer['refused']}"
        if "outcome" not in answer:
            return None
        return prepared.granted(answer["outcome"], replayed=answer["replayed"])

    def end(self) -> None:
        """End the application, if it lives."""
        if self.pid:
            with suppress(Died):
                self._ask(end=True)

    def close(self) -> None:
        """End the forkserver and every child."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _ask(self, **message: object) -> dict[str, Any]:
        """Send a message to the application, and return its answer. Raises Died."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        """Return the application's next answer. Raises Died if it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks applications ended; it said why on standard error"
        answer: dict[str, Any] = json.loads(line)
        if "died" in answer:
            self.pid = 0
            assert answer["died"] in (0, -signal.SIGKILL), "the application broke; it said how on standard error"
            raise Died(killed=answer["died"] == -signal.SIGKILL)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_cause: object) -> None:
        self.close()


class TracedStore(LegacyStore):
    """A legacy store that counts its statements, and kills its own process before one of them."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.ran: list[str] = []
        self.last: int | None = None

    def _connect(self) -> DBAPIConnection:
        connection = super()._connect()
        cast(sqlite3.Connection, connection).set_trace_callback(self.reach)
        return connection

    def reach(self, statement: str) -> None:
        """Kill this process, if the statement is the one to die at."""
        if len(self.ran) == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.ran.append(statement)


class Application:
    """The application in a child process, which is killed at its moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Carry out a message of the parent, and return the answer."""
        if "command" in message:
            return self._dispatch(message["command"])
        assert isinstance(self._store, TracedStore)
        if "die_at" in message:
            self._store.ran.clear()
            self._store.last = message["die_at"]
        return {"statements": self._store.ran}

    def _dispatch(self, command: dict[str, Any]) -> dict[str, Any]:
        request = Request(command["player"], command["request"], decode(command["do"], command["fields"]))
        try:
            answer = dispatch(
                self._store,
                request,
                clock=moving(int(command["now_ms"])),
                chance=lambda request_id: Chance(SEED, request_id, command["dice"]),
            )
        except Refused as refusal:
            return self._reached({"refused": refusal.code})
        except StoreUnavailable as error:
            return {"unavailable": str(error)}
        except Exception as error:  # noqa: BLE001  # a defect of the game: the parent raises it, with its place
            return {"raised": dataclasses.asdict(Defect.of(error))}
        return self._reached({"outcome": answer.outcome, "replayed": answer.replayed})

    def _reached(self, answer: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self._store, TracedStore):
            self._store.reach("(the answer)")
        return answer


def _lines() -> Iterator[dict[str, Any]]:
    """Yield the lines of the input, and read no byte beyond: the rest is for the next reader, parent or child."""
    line = b""
    while byte := os.read(0, 1):
        line += byte
        if byte == b"\n":
            yield json.loads(line)
            line = b""


def _say(**message: object) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _open(url: str) -> Store:
    place = urls.read(url)
    if isinstance(place, urls.LegacyUrl):
        return TracedStore(place.path)
    store = PostgresStore(place, pool_size=1)
    with store.begin():
        return store


def _child(url: str, synced: str | None) -> None:
    copies = None if synced is None else SyncedCopies(Path(synced))  # SQLite calls it until this process ends.
    if copies is not None:
        copies.install()
    application = Application(_open(url))
    _say(pid=os.getpid())
    for message in _lines():
        if "end" in message:
            return
        _say(**application.answer(message))


def main() -> None:
    """Fork an application for each store that is named, and report its exit code when it ends."""
    for message in _lines():
        child = os.fork()
        if child == 0:
            _child(message["store"], message["synced"])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        _say(died=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
