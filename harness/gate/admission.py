"""Decides if a certificate admits this checkout to an environment; counts may not shrink from the last one admitted.

The last one is remembered with the target, in `ops.admissions`, when a cutover accepts it: what stands there can't be
left out by a fresh checkout. Where no target is asked (`invoke gate --verify` in CI, which reaches none), a file beside
the certificate stands in for it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from pydantic import TypeAdapter

from db import environments, ops
from db.environments import Environment
from db.errors import Refusal
from db.files import json_files, private
from db.ops import admissions
from db.ops.admissions import Admission
from db.schema import migrate
from db.servers.settings import decisive
from db.signing import SIGNING_KEY
from db.target import pooler
from harness.gate import certificate, checkout
from harness.gate.certificate import Certificate, CheckoutState, Counts, TargetServer

_COUNTS = TypeAdapter(Counts)


def checkout_state(root: Path) -> CheckoutState:
    """Read the state of this checkout."""
    changes = tuple(checkout.changes(root))
    return CheckoutState(
        commit=checkout.head(root),
        clean=not changes,
        schema_head=migrate.head(),
        scenario_digest=certificate.digest_of(root / "scenarios"),
        changes=changes,
    )


def verify(environment: str, path: Path, root: Path) -> Certificate:
    """Return the certificate, if it admits this commit to the environment; record it as the last. Asks no target."""
    environments.check_name(environment)
    record = path.with_name(f"accepted-{environment}.json")
    admitted = certificate.verify(
        path,
        environment,
        _standing(path, root, environment),
        key=environments.secret(SIGNING_KEY),
        now=certificate.now(),
        least=_recorded(record),
    )
    private.write(record, json.dumps(asdict(admitted.counts), indent=2) + "\n")
    return admitted


def admit(env: Environment, path: Path, root: Path, *, offline: bool, remember: bool) -> Certificate:
    """Verify for a move to the environment's own server, whose version, settings and last admission count too.

    offline: the game will be stopped for the copy, so the rehearsed freeze has to be within the budget.
    """
    with pooler.transaction(env.target) as service:
        target = TargetServer(service.info.server_version // 10_000, decisive(service))
    with ops.connect(env.target_direct) as conn:
        ops.require_marker(conn, env.name)
        last = admissions.last(conn)
        least = None if last is None else Counts(**{name: getattr(last, name) for name in Counts.__dataclass_fields__})
        admitted = certificate.verify(
            path,
            env.name,
            _standing(path, root, env.name),
            key=environments.secret(SIGNING_KEY),
            now=certificate.now(),
            target=target,
            least=least,
            budget_seconds=env.policy.freeze_budget_seconds if offline else None,
        )
        if not offline and admitted.window_seconds is None:
            raise Refusal(
                "a certificate whose gate rehearsed the live move",
                "one whose legacy file could only be moved with the game stopped",
                where=str(path),
                do="Nothing was changed. Move with the game stopped: --offline.",
            )
        if remember:
            admissions.add(conn, Admission(admitted.commit, admitted.made_at, **asdict(admitted.counts)))
    return admitted


def _recorded(record: Path) -> Counts | None:
    """Return the counts in the file; None if there is no file yet."""
    if not os.path.lexists(record):
        return None
    return json_files.load_json(
        record,
        _COUNTS,
        "the counts of the certificate accepted last",
        do="Put that file back as it was. If nobody has it, remove it: then nothing is compared with the last one.",
        most_bytes=json_files.MOST_BYTES_OF_A_NOTE,
    )


def _standing(path: Path, root: Path, environment: str) -> CheckoutState:
    """Return what is true of this checkout, with the certificate's commit if nothing certified differs between them.

    The signature is checked later, so the certificate's commit may be any text here.
    """
    state = checkout_state(root)
    commit = certificate.read(path, certificate.to_read(environment, path))[0].commit
    return replace(state, commit=commit) if checkout.is_same_code(root, commit, state.commit) else state
