"""The plan of a cutover: what a dry run read, for somebody to approve by day, and for the run to find again at night.

Each part is a line of text with a name. What changes while players play (the file's bytes, its size) is no part. Nor is
what a run itself changes (the fences, the pointer, the tables of the target): a run that goes on after a kill finds its
plan as it was. No secret stands in a plan, and no digest that one could be guessed from.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, NonNegativeFloat

from db import ops, signing
from db.cutover.move_status import MoveStatus
from db.environments import Environment
from db.errors import Refusal, together
from db.files import json_files, private
from db.files.json_files import Instant, OneLine
from db.legacy import schema as legacy_schema
from db.legacy.opening import reading, tidied
from db.ops import Phase
from game.redaction import redact

LONGEST_PART = 400
EXPORTED = "the values of exported variables, such as a password in a URL"
FACTOR, SLACK_SECONDS = 1.5, 30.0
"""How much longer than predicted the freeze may be at night: decoding takes longer on a machine that is busy."""


def _short(text: str) -> str:
    """Validate a text of the plan: one line, printable, at most LONGEST_PART characters."""
    if len(text) > LONGEST_PART or not text.isprintable():
        raise ValueError(f"should be one line of at most {LONGEST_PART} printable characters")
    return text


Part = Annotated[str, AfterValidator(_short)]


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan. parts: what may not differ at night, by name. not_compared: what is no part, and might be missed.

    state: where the move stood. facts: for the person who approves; they may change. most_seconds: the longest freeze
    that the approval covers; both it and predicted_seconds are None where the game is moved already. made_at: ISO time
    in UTC.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    environment: OneLine
    state: OneLine
    parts: dict[OneLine, Part]
    facts: dict[OneLine, Part]
    not_compared: tuple[Part, ...]
    predicted_seconds: NonNegativeFloat | None
    most_seconds: NonNegativeFloat | None
    made_at: Instant


def make(
    env: Environment,
    status: MoveStatus,
    code: Mapping[str, str],
    *,
    key: str | None,
    predicted_seconds: float | None = None,
) -> Plan:
    """Read every part anew; changes nothing. code: the parts that the caller reads, such as the commit.

    key: seals the values of env files; without one they are not compared. Raises Refusal if a store can't be read.
    """
    sealed, unsealed = _env_files(env, key)
    most = None if predicted_seconds is None else max(predicted_seconds * FACTOR, predicted_seconds + SLACK_SECONDS)
    return Plan(
        environment=env.name,
        state=state_of(status),
        parts={**code, **_legacy(env), **_target(env), **_settings(env, key), **sealed},
        facts={"size of the legacy file": f"{env.legacy.path.stat().st_size / 1e6:,.1f} MB"},
        not_compared=(EXPORTED, *unsealed),
        predicted_seconds=predicted_seconds,
        most_seconds=None if most is None else round(most, 3),
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def state_of(status: MoveStatus) -> str:
    """Say what moves there were. An attempt that was undone leaves what was before it."""
    if status.phase in (Phase.EMPTY, Phase.ABORTED) or ops.is_trial(status.run):
        return "never moved"
    return f"{status.phase} by run {status.run}"


def anew(environment: str) -> str:
    """Return the remedy for a plan that does not fit."""
    return f"Make another plan, and have it approved: {making(environment)}"


def making(environment: str) -> str:
    """Return the command that makes a plan."""
    return f"invoke cutover --env {environment} --dry-run --json out/plan-{environment}.json"


def require_same(approved: Plan, now: Plan, where: Path) -> None:
    """Raise one Refusal for all parts that are not as they were approved."""
    if refusals := list(_differing(approved.parts, now.parts, where, now.environment)):
        raise together(refusals)


def _differing(approved: Mapping[str, str], now: Mapping[str, str], where: Path, environment: str) -> Iterator[Refusal]:
    for name in sorted(approved.keys() | now.keys()):
        if approved.get(name) != now.get(name):
            yield Refusal(
                f"{name}, as approved: {approved.get(name) or 'nothing'}",
                now.get(name) or "nothing",
                where=str(where),
                do="Put it back as it was approved. If it is right as it is, have another plan approved:"
                f" {making(environment)}",
            )


def _legacy(env: Environment) -> dict[str, str]:
    """Read what makes the file the same one: its name, its inode and the game's schema, without the fence."""
    path = env.legacy.path
    with tidied(path), reading(path) as connection:
        statements = legacy_schema.read(connection).statements
    schema = [[one.type, one.name, one.table, one.sql] for one in statements if not one.is_internal]
    return {
        "legacy file": _line(str(path)),
        # A file that was put in its place since is another one, even with the same name. Devices get new numbers
        # when a machine starts again.
        "inode of the legacy file": str(path.stat().st_ino),
        "schema of the legacy file": _digest({"schema": sorted(schema, key=str)}),
    }


def _target(env: Environment) -> dict[str, str]:
    with ops.connect(env.target_direct) as conn:
        ops.require_marker(conn, env.name)
        identity = ops.identity(conn)
    return {
        "target": _line(env.target.redacted),
        "target, by its owner": _line(env.target_direct.redacted),
        "marker of the target": f"{env.name}, {identity}",
    }


def _settings(env: Environment, key: str | None) -> dict[str, str]:
    hooks = {name: command for name, command in dataclasses.asdict(env.hooks).items() if command}
    files = env.files_read.files
    return {
        "pointer": _line(f"{env.pointer.variable} in {env.pointer.path}"),
        "services": _line(", ".join(map(redact, env.services))),
        "policy": ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(env.policy).items()),
        **{f"hook {name}": _line(redact(command)) for name, command in hooks.items()},
        # Of their exact texts: the lines above are cut, and show no password.
        "digest of hooks and services": _seal({"hooks": hooks, "services": list(env.services)}, key)
        or _digest({"hooks": redact(str(hooks)), "services": redact(str(env.services))}),
        **{f"digest of {_name(number)} {Path(file.path).name}": file.sha256 for number, file in enumerate(files)},
    }


def _name(number: int) -> str:
    return "the operator's" if number else "the settings'"


def _env_files(env: Environment, key: str | None) -> tuple[dict[str, str], list[str]]:
    """Return the seals of the env files, and what can't be compared without a key."""
    sealed: dict[str, str] = {}
    unsealed = []
    for file in env.files_read.env_files:
        path = Path(file.path)
        values = dict(private.variables(path, interpolate=False))
        if path.resolve() == env.pointer.path.resolve():
            values.pop(env.pointer.variable, None)  # The run itself changes it.
        if seal := _seal(values, key):
            sealed[f"seal of the variables in {path.name}"] = seal
        else:
            unsealed.append(f"the values in {path.name}: there is no {signing.SIGNING_KEY} to seal them with")
    return sealed, unsealed


def _seal(values: Mapping[str, object], key: str | None) -> str:
    """Return a digest that nobody can guess the values from without the key; "" where there is no key."""
    return f"hmac-sha256 {signing.sign({'sealed for a plan': values}, key)}" if key else ""


def _digest(values: Mapping[str, object]) -> str:
    return hashlib.sha256(signing.canonical(values)).hexdigest()


def _line(text: str) -> str:
    return json_files.shown(" ".join(text.split()), LONGEST_PART - 1)
