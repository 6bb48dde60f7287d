"""`invoke status`: asks each part of an environment for its state, and reports why one does not answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db import environments, ops
from db.counts import counted
from db.cutover import ending
from db.cutover.context import FAILURES
from db.cutover.ending import Observation
from db.cutover.probes import TARGET, Control, Depth
from db.cutover.services import Ready
from db.environments import Environment
from db.errors import Refusal, ToolError
from db.follow import status as follow_status
from db.ops import Phase, checkout
from db.schema import drift, revisions
from db.signing import SIGNING_KEY, UNSIGNED_STAGES
from db.snapshots import Label, Side, Snapshot, find, is_admitted, is_verified, kept
from game.redaction import redact
from harness.gate import admission, certificate

ROOT = Path(__file__).parents[3]

SERVICE = "service"
NEXT = "next"

_CAUSES = {Depth.NOTHING: "target", Depth.MARKER: "marker", Depth.CONTROL: "schema"}
"""By how far Postgres could be asked: the row that says why no further. The rows that follow from it point to it."""


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One row of the answer. known: the part answered. value: a list has an item for each line."""

    name: str
    value: str | list[str]
    known: bool = True


@dataclass(frozen=True, slots=True)
class Status:
    """The answers of `invoke status`, in the order in which they are shown."""

    answers: tuple[StatusRow, ...]

    @property
    def values(self) -> dict[str, str | list[str]]:
        """Return the answers for machines; a service's URL is its name."""
        return {row.name: row.value for row in self.answers}

    @property
    def whole(self) -> bool:
        """Return True if every part answered."""
        return all(row.known for row in self.answers)

    @property
    def unknown(self) -> list[str]:
        """Return the names of the parts that did not answer."""
        return [row.name for row in self.answers if not row.known]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the answers for people; each item of a list takes a line."""
        return [_shown(row) for row in self.answers]


def status(env: Environment, root: Path = ROOT) -> Status:
    """Ask the file, Postgres, the pointer and the services. Never raises for a part that does not answer.

    root: the checkout whose commit a certificate is for.
    """
    seen = ending.look(env)
    admits = _asked("certificate", lambda: _certificate(env, root))
    return Status(
        (
            StatusRow("environment", env.name),
            StatusRow("legacy", env.legacy.redacted),
            StatusRow("fence of the legacy file", seen.legacy_fence, seen.legacy is not None),
            *_postgres(env, seen),
            *_live(seen),
            *_follow(env, seen),
            *_checkout(env, seen),
            *_kept(env, seen),
            StatusRow("pointer", f"not known: {seen.amiss}" if seen.amiss else f"names {seen.pointer}", not seen.amiss),
            *(
                StatusRow(url, _answer(ready) or f"not known: {seen.silent[url]}", bool(ready))
                for url, ready in seen.services.items()
            ),
            admits,
            _asked("snapshots", lambda: _snapshots(env)),
            StatusRow("settings", env.files_read.lines()),
            *_emergency(seen),
            StatusRow("players", seen.serves),
            StatusRow(NEXT, [*_gate(env, seen, str(admits.value)), *seen.steps]),
        )
    )


def _postgres(env: Environment, seen: Observation) -> list[StatusRow]:
    """Return the rows of Postgres. If it stops answering, one row says why, and the missing ones refer to that row."""
    url, control, target = env.target_direct.redacted, seen.asked.control, seen.target
    cause = _CAUSES.get(seen.asked.depth, "")

    def missing(name: str) -> StatusRow:
        why = seen.unknown[TARGET].why if name == cause else f"see {cause}"
        return StatusRow(name, f"not known: {why}", known=False)

    return [
        StatusRow("target", [url, str(missing("target").value)], known=False)
        if cause == "target"
        else StatusRow("target", url),
        StatusRow("marker", env.name) if control else missing("marker"),
        *(_schema(env, target.schema) if target else map(missing, ("schema", "drift"))),
        StatusRow("phase", _phase(env, control, rows=target is not None and target.rows))
        if control
        else missing("phase"),
        StatusRow("lock held by", str(control.holder or "nobody")) if control else missing("lock held by"),
        StatusRow("fence of Postgres", seen.target_fence) if target else missing("fence of Postgres"),
    ]


def _live(seen: Observation) -> list[StatusRow]:
    """Return the row of a live attempt, if one is under way."""
    return [] if seen.live is None else [StatusRow("move", str(seen.live))]


def _follow(env: Environment, seen: Observation) -> list[StatusRow]:
    """Return the row of the legacy file that follows; none before a cutover and after a rollback."""
    if seen.target is None or seen.target.phase is not Phase.LIVE:
        return []
    row = _asked("follow", lambda: follow_status.described(env))
    return [row] if row.value else []


def _emergency(seen: Observation) -> list[StatusRow]:
    """Return the row of a fence that somebody set by `invoke fence`, if one stands."""
    return [] if seen.emergency is None else [StatusRow("emergency fence", str(seen.emergency))]


def _schema(env: Environment, at: str | None) -> list[StatusRow]:
    """Return the revision with the pending ones, and the lines of drift."""
    try:
        history = revisions.read()
        pending = ", ".join(revision.id for revision in history.pending(at))
        revision = (at or "none") + (f", to be applied: {pending}" if pending else "")
        if at is not None and at not in history:
            newer = f"{at}, which this version does not know"
            return [
                StatusRow("schema", newer),
                StatusRow("drift", "not known: a newer version migrated it", known=False),
            ]
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            lines = [] if at is None else drift.since(conn, env.target_direct.schema, history.applied(at))
            unmade = drift.unmade(conn, history.revisions)
    except (ToolError, *FAILURES) as error:
        return [StatusRow("schema", at or "none"), StatusRow("drift", f"not known: {_line(error)}", known=False)]
    return [
        StatusRow("schema", revision),
        StatusRow("drift", [*lines, *(f"only in game/tables.py: {name}" for name in unmade)]),
    ]


def _phase(env: Environment, control: Control, *, rows: bool) -> str:
    """Return the phase; before a move is begun and after a trial, which begins none, what Postgres holds."""
    if control.phase is not Phase.EMPTY and not control.trial:
        return str(control.phase) + (f", by run {control.run}" if control.run else "")
    holds = _players(env) if rows else "no rows"
    if not control.trial:
        return f"empty: no move was begun; Postgres holds {holds}"
    left = f" of the trial {control.run}, which a cutover empties" if rows else ""
    return f"no move is under way; Postgres holds {holds}{left}"


def _players(env: Environment) -> str:
    """Return the number of players as the end of "Postgres holds …"; "rows" where they can't be counted."""
    try:
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            row = conn.execute("select count(*) from users").fetchone()
    except (ToolError, *FAILURES):  # The other rows say why: Postgres answered a moment ago.
        return "rows"
    return counted(row[0] if row else 0, "players")


def _answer(ready: Ready | None) -> str:
    if ready is None:
        return ""
    return f"{ready.engine}, {ready.fence or 'its store does not answer'}, process {ready.pid}"


def _gate(env: Environment, seen: Observation, admits: str) -> list[str]:
    """Return the step that makes the certificate, where a cutover is next and would be refused without one."""
    begins = seen.target is not None and seen.target.phase not in (Phase.LOADING, Phase.LIVE)
    path = _certificate_path(env)
    if not begins or env.name in UNSIGNED_STAGES or admits.startswith(f"{path} admits commit"):
        return []
    return [f"make the certificate: invoke gate --env {env.name} --json {path}"]


def _certificate_path(env: Environment) -> Path:
    return Path("out") / f"certificate-{env.name}.json"


def _certificate(env: Environment, root: Path) -> str:
    path = _certificate_path(env)
    if not (root / path).exists():
        return f"none at {path}"
    try:
        admitted = certificate.verify(
            root / path,
            env.name,
            admission.checkout_state(root),
            key=environments.secret(SIGNING_KEY, root),
            now=certificate.now(),
        )
    except Refusal as error:
        return f"{path} admits no move: expected {error.expected}; found {error.found}"
    ends = datetime.fromisoformat(admitted.made_at) + certificate.MAX_AGE
    return f"{path} admits commit {admitted.commit[:12]} until {ends:%Y-%m-%d %H:%M} UTC"


def _snapshots(env: Environment) -> list[str]:
    """Return the newest snapshot of each side and label."""
    folder = env.snapshots.folder
    if not folder.exists():
        return ["none"]
    list(folder.iterdir())  # Raises where this user may not look; `glob` would find nothing.
    newest = [
        taken[-1] for side in Side for label in Label if (taken := find(folder, env.name, side=side, label=label))
    ]
    return [_described(snapshot) for snapshot in newest] or ["none"]


def _described(snapshot: Snapshot) -> str:
    manifest = snapshot.manifest
    verified = "verified" if is_verified(snapshot) else "NOT verified"
    signed = "" if is_admitted(snapshot) else ", NOT signed with the key here"
    return f"{manifest.side} {manifest.label}, {verified}{signed}, {snapshot.players:,} players, {snapshot.folder}"


def _checkout(env: Environment, seen: Observation) -> list[StatusRow]:
    """Return the row that says which checkout a development database belongs to; none of other environments."""
    if env.name not in checkout.OWNED or seen.target is None:
        return []

    def owner() -> str:
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            return checkout.describe(conn)

    return [_asked("belongs to", owner)]


def _kept(env: Environment, seen: Observation) -> list[StatusRow]:
    """Return the schemas that are kept, and what to do with them if the game's own is missing."""
    if (target := seen.target) is None:
        return []

    def names() -> list[str]:
        with ops.connect(env.target_direct, application="sudamr status") as conn:
            lines = [f"{one.schema}, {one.players:,} players" for one in kept.find(conn)]
        if lines and target.schema is None:
            lines.append("the game's own schema is missing: restore a snapshot, or put one of these back:")
            lines.append(f"invoke snapshot.kept --env {env.name} --put-back NAME")
        return lines

    row = _asked("kept schemas", names)
    return [row] if row.value else []


def _asked(name: str, ask: Callable[[], str | list[str]]) -> StatusRow:
    try:
        return StatusRow(name, ask())
    except (ToolError, *FAILURES) as error:
        return StatusRow(name, f"not known: {_line(error)}", known=False)


def _line(error: Exception) -> str:
    return redact(" ".join(str(error).split()))


def _shown(row: StatusRow) -> tuple[str, str]:
    lines = [row.value] if isinstance(row.value, str) else row.value
    if row.name == NEXT and len(lines) > 1:
        lines = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    value = "\n".join(lines) or "none"
    is_url = row.name.startswith(("http://", "https://"))
    return (SERVICE, f"{row.name}: {value}") if is_url else (row.name, value)
