"""What `invoke cutover`, `rollback`, `status` and `snapshot` do: the runs, with a gate's certificate and the smoke."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db import environments, migrate, ops, snapshots
from db.cutover import recovery, rollback, services
from db.cutover import run as cutover_run
from db.cutover.ports import Smoke
from db.cutover.report import Report, Verdict
from db.environments import Environment
from db.errors import Refusal
from db.progress import Progress
from db.snapshots import Side
from harness.gate import admission, certificate
from harness.live import smoke

if TYPE_CHECKING:
    from db.console import Outcome

ROOT = Path(__file__).parent.parent

_VERDICTS = {
    Verdict.LIVE: "The game is live on Postgres.",
    Verdict.RETURNED: "The game is back on the legacy file.",
    Verdict.UNDONE: "It is undone: the game is where it was.",
    Verdict.PLANNED: "This is what would be done; nothing was changed.",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for."""

    environment: Environment
    offline: bool
    dry_run: bool
    abort: bool


def cutover(wish: Wish, proof: Path, progress: Progress) -> Report:
    """Move the game to Postgres; `proof` is the gate's report. Errors: as of `db.cutover.run.run`."""
    return cutover_run.run(
        wish.environment, evidence=partial(_admit, proof=proof, remember=not wish.dry_run),
        smoke=_smoke(wish), offline=wish.offline, dry_run=wish.dry_run, abort=wish.abort, progress=progress,
    )  # fmt: skip


def roll_back(wish: Wish, progress: Progress, *, discard_writes: bool, accept_loss: int | None) -> Report:
    """Move the game back to the legacy file. Errors: as of `db.cutover.rollback.run`."""
    return rollback.run(
        wish.environment, smoke=_smoke(wish), offline=wish.offline, dry_run=wish.dry_run, abort=wish.abort,
        discard_writes=discard_writes, accept_loss=accept_loss, progress=progress,
    )  # fmt: skip


def _smoke(wish: Wish) -> Smoke:
    """An undo plays no smoke, and must not fail for a token that it does not need."""
    token = "" if wish.abort else environments.operator_token(wish.environment)
    return partial(smoke.run, operator_token=token)


def _admit(env: Environment, proof: Path, *, remember: bool) -> None:
    """Refusal unless the certificate admits this commit; development and test need none, but a wrong one is refused."""
    if proof.exists() or env.name not in certificate.UNSIGNED_STAGES:
        admission.admit(env, proof, ROOT, remember=remember)


def status(env: Environment) -> dict[str, object]:
    """Where the environment stands, by what each part answers; a part that does not answer says so."""
    return {"environment": env.name, **_databases(env), **_services(env)}


def _databases(env: Environment) -> dict[str, object]:
    found: dict[str, object] = {"legacy": env.legacy.redacted, "target": env.target_direct.redacted}
    standing = recovery.standing(env)
    with ops.connect(env.target_direct) as conn:
        marker, head = ops.marker(conn), migrate.current(conn)
        held = ops.holder(conn) or "nobody"
    odd = f", but not on {', '.join(standing.odd)}" if standing.odd else ""
    fences = {"fence of the legacy file": standing.legacy, "fence of Postgres": f"{standing.target}{odd}"}
    return {
        **found,
        "marker": marker,
        "schema": head or "none",
        "phase": str(standing.phase),
        "lock held by": held,
        **fences,
    }


def _services(env: Environment) -> dict[str, object]:
    return {url: _answer(services.ask(url)) for url in env.services}


def _answer(ready: services.Ready | None) -> str:
    return "no answer" if ready is None else f"{ready.engine}, {ready.fence}, process {ready.pid}"


def snapshot(env: Environment, verb: str, what: str, into: str, *, unfence: bool = False) -> dict[str, object]:
    """Take, verify or restore; what was done, by name."""
    if verb == "take":
        taken = snapshots.take(env, _side(what))
        return {"snapshot": str(taken.folder), **snapshots.verify(env, taken)}
    found = snapshots.read(Path(what))
    if verb == "verify":
        return {"snapshot": str(found.folder), **snapshots.verify(env, found)}
    if found.manifest.side is Side.LEGACY and not into:
        raise Refusal("--into FILE, the new file to restore into", "none", where=str(found.folder))
    snapshots.restore(env, found, keep_fence=not unfence, into=Path(into) if into else None)
    return {
        "snapshot": str(found.folder),
        "restored": into or env.target_direct.redacted,
        "fence": "off" if unfence else "on",
    }


def _side(name: str) -> Side:
    try:
        return Side(name)
    except ValueError:
        raise Refusal(f"--of {' | '.join(Side)}", f"--of {name}") from None


def show(report: Report, speaks: Outcome) -> None:
    """A run for people: its steps, and how it ended."""
    rows = [(step.name, str(step.status), step.seconds) for step in report.steps]
    speaks.table(f"{report.verb} of {report.environment}, run {report.run}", ("step", "status", "seconds"), rows)
    if report.read_only_seconds is not None:
        speaks.say(f"read-only for {report.read_only_seconds:.1f} s")
    speaks.say(_VERDICTS[report.verdict])
