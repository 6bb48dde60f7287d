"""The certificate of a gate that passed: it binds the pass to a commit, a schema, the scenarios and a server, signed.

Unsigned certificates serve development and test alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, TypeAdapter

from db import signing
from db.counts import few
from db.errors import Refusal
from db.files import json_files
from db.files.json_files import Instant, OneLine
from db.servers.settings import MAJOR
from db.signing import UNSIGNED_STAGES

MAX_AGE = timedelta(hours=24)
SCENARIO_SUFFIXES = (".yaml", ".toml")
CLEAN_HERE = "a clean tree here"
NAMED = 5
"""So many of the changed files are named."""

A_REPORT = "the JSON that a gate wrote"
MAKE_ONE = "Name the file that a gate wrote, or have one written: invoke gate --env NAME --json FILE"
SHOWN_CHARACTERS = 40
ANOTHER_KIND = "JSON of another kind"


@dataclass(frozen=True, slots=True)
class CheckoutState:
    """The state of this checkout, to which a certificate must agree. changes: the files unlike the commit's."""

    commit: str
    clean: bool
    schema_head: str
    scenario_digest: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetServer:
    """The server to move to; `settings` are those that decide what a statement means."""

    major: int = MAJOR
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of what a gate ran; they may not shrink from one accepted certificate to the next."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    scenarios: NonNegativeInt
    twins: NonNegativeInt
    faults_fired: NonNegativeInt
    race_orders: NonNegativeInt

    def smaller_than(self, least: Counts) -> str:
        """Return the counts that are smaller, in words; "" if none is."""
        now, then = asdict(self), asdict(least)
        return ", ".join(f"{now[k]} {k.replace('_', ' ')} (were {then[k]})" for k in now if now[k] < then[k])


@dataclass(frozen=True, slots=True)
class Certificate:
    """A gate's finding. window_seconds, window_back_seconds: how long the rehearsed live cutover and the live rollback
    kept players waiting, None if none could be made; freeze_seconds: how long the rehearsed offline cutover was
    read-only; made_at: ISO time in UTC.

    server_programs: the name and version of what wrote the snapshots; server_settings: those of
    `db.servers.settings.DECISIVE`; seeds: what the made players, the dice, the clients and the orders
    of three sessions followed from.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    environment: OneLine
    verdict: OneLine
    commit: OneLine
    clean: bool
    schema_head: OneLine
    scenario_digest: OneLine
    scenarios: NonNegativeInt
    twins: NonNegativeInt
    faults_fired: NonNegativeInt
    race_orders: NonNegativeInt
    rehearsed_players: NonNegativeInt
    window_seconds: NonNegativeFloat | None
    window_back_seconds: NonNegativeFloat | None
    freeze_seconds: NonNegativeFloat
    server_kind: OneLine
    server_version: OneLine
    server_programs: OneLine
    server_settings: dict[str, OneLine]
    seeds: dict[str, OneLine]
    made_at: Instant

    @property
    def counts(self) -> Counts:
        """Return how much the gate ran."""
        return Counts(self.scenarios, self.twins, self.faults_fired, self.race_orders)

    @property
    def major(self) -> str:
        """Return the server's major version: 15 of 15.18."""
        return self.server_version.partition(".")[0]

    def signed(self, key: str | None, rest: Mapping[str, object]) -> dict[str, object]:
        """Return the certificate as JSON values; its signature is None without a key. rest: the rest of the report."""
        body = asdict(self)
        return {**body, "signature": signature(body, rest, key) if key else None}


_CERTIFICATES = TypeAdapter(Certificate)


def signature(body: Mapping[str, object], rest: Mapping[str, object], key: str) -> str:
    """Return the HMAC-SHA256, in hex, of the canonical JSON of a report: a certificate, and the rest of the report.

    Refusal of a key that could be guessed.
    """
    return signing.sign({**rest, "certificate": body}, key)


def digest_of(folder: Path) -> str:
    """Return one hash over the path and content of every scenario file, and of the table of pairs."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in SCENARIO_SUFFIXES):
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def read(path: Path, do: str = MAKE_ONE) -> tuple[Certificate, str | None, dict[str, object]]:
    """Return a certificate, its signature and the rest of a gate's report. Raises Refusal with `do`."""
    match json_files.read_json(path, A_REPORT, do=do):
        case {"certificate": {"signature": str() | None as given, **values}, **others}:
            rest = {str(name): value for name, value in others.items()}
        case {"verdict": str() as verdict, **others} if "certificate" not in others:
            unfinished = f"what a task wrote that ended without one: {json_files.shown(verdict, SHOWN_CHARACTERS)}"
            raise Refusal(A_REPORT, unfinished, where=str(path), do=do)
        case _:
            raise Refusal(A_REPORT, ANOTHER_KIND, where=str(path), do=do)
    try:
        return json_files.fitting(values, _CERTIFICATES, "a certificate"), given, rest
    except json_files.Unfit as error:
        raise Refusal(A_REPORT, str(error), where=str(path), do=do) from None


def verify(
    path: Path,
    environment: str,
    checkout: CheckoutState,
    *,
    key: str | None,
    now: datetime,
    target: TargetServer | None = None,
    least: Counts | None = None,
    budget_seconds: float | None = None,
) -> Certificate:
    """Return the certificate, if it admits this checkout to `environment`. Raises Refusal naming what does not fit.

    target: the server to move to, where it was asked; least: what the last accepted certificate counted;
    budget_seconds: how long the environment's players may be kept from playing.
    """
    certificate, given, rest = read(path, to_read(environment, path))
    _check_signature(certificate, given, rest, environment, key, path)
    checks = (
        *_of_the_gate(certificate, environment, now),
        *_of_the_commit(certificate, checkout),
        *_of_the_server(certificate, target or TargetServer()),
        *_of_the_counts(certificate, least, budget_seconds),
    )
    for expected, found, agrees, *first in checks:
        if not agrees:
            raise Refusal(expected, found, where=str(path), do=" ".join([*first, another(environment, path)]))
    return certificate


def _check_signature(
    certificate: Certificate,
    given: str | None,
    rest: Mapping[str, object],
    environment: str,
    key: str | None,
    path: Path,
) -> None:
    if given is None or not key:
        if environment in UNSIGNED_STAGES:
            return
        if given is None:
            raise Refusal(
                "a signed certificate",
                "an unsigned certificate",
                where=str(path),
                do=f"Write a GATE_SIGNING_KEY into .env. {another(environment, path)}",
            )
        raise Refusal(
            "a signed certificate",
            "no GATE_SIGNING_KEY to check the signature with",
            where=str(path),
            do="Write into .env, or export, the GATE_SIGNING_KEY with which the gate signed it.",
        )
    if not fits(certificate, given, rest, key):
        raise Refusal(
            "the signature that the gate made",
            "one that does not fit: the file was changed, or another key",
            where=str(path),
            do="Write the GATE_SIGNING_KEY with which the gate signed it into .env. Without that key the file is of"
            " no use. " + another(environment, path),
        )


def fits(certificate: Certificate, given: str | None, rest: Mapping[str, object], key: str) -> bool:
    """Return True if the signature is that of this report by this key. Raises Refusal of a key that is too short."""
    return signing.fits({**rest, "certificate": asdict(certificate)}, given or "", key)


def to_read(environment: str, path: Path) -> str:
    """Return the remedy for a path that is no gate's JSON. What stands there is not to be overwritten."""
    place = "FILE" if path.exists() else path
    return f"Name the file that a gate wrote, or have one written: invoke gate --env {environment} --json {place}"


def another(environment: str, path: Path) -> str:
    """Return the remedy for a certificate that does not admit the environment."""
    return f"Make one of this commit: invoke gate --env {environment} --json {path}"


Agreement = tuple[str, str, bool] | tuple[str, str, bool, str]
"""Expected and found, whether they agree, and the step before another gate is run, if anything."""

_CLEAN = "Commit these files, or take the changes back."


def _of_the_gate(certificate: Certificate, environment: str, now: datetime) -> Iterator[Agreement]:
    made = datetime.fromisoformat(certificate.made_at)
    same = certificate.environment == environment
    yield "the verdict pass", certificate.verdict, certificate.verdict == "pass", "Mend what its page shows."
    yield f"a certificate for {environment}", f"one for {certificate.environment}", same
    yield f"one made within {MAX_AGE}", f"one made at {certificate.made_at}", timedelta(0) <= now - made <= MAX_AGE


def _of_the_commit(certificate: Certificate, checkout: CheckoutState) -> Iterator[Agreement]:
    yield "a certificate of a clean tree", "one of a tree with changes", certificate.clean
    named = few(checkout.changes, NAMED)
    # Another gate on a tree with changes would be refused again, minutes later.
    yield CLEAN_HERE, f"changes that no gate has seen{f': {named}' if named else ''}", checkout.clean, _CLEAN
    yield f"commit {checkout.commit[:12]}", f"commit {certificate.commit[:12]}", certificate.commit == checkout.commit
    head = certificate.schema_head
    yield f"schema {checkout.schema_head}", f"schema {head}", head == checkout.schema_head
    yield "the scenarios that stand here", "other scenarios", certificate.scenario_digest == checkout.scenario_digest


def _of_the_server(certificate: Certificate, target: TargetServer) -> Iterator[Agreement]:
    major = str(target.major)
    other = "Name a server like the target: add --postgres URL."
    yield f"PostgreSQL {major}", f"PostgreSQL {certificate.server_version}", certificate.major == major, other
    for name, value in target.settings.items():
        its = certificate.server_settings.get(name, "nothing")
        yield (
            f"a gate on a server with {name} = {value}, as the target's",
            f"one with {its}",
            its == value,
            other,
        )


def _of_the_counts(certificate: Certificate, least: Counts | None, budget_seconds: float | None) -> Iterator[Agreement]:
    for name, count in asdict(certificate.counts).items():
        yield f"at least one of {name.replace('_', ' ')}", "none", count > 0
    if least is not None:
        smaller = certificate.counts.smaller_than(least)
        yield "no less than the certificate accepted last", smaller, not smaller, "Bring back what is missing here."
    if budget_seconds is not None:
        freeze = certificate.freeze_seconds
        slow = "Raise policy.freeze_budget_seconds, or find a faster server."
        yield (
            f"a rehearsed freeze within {budget_seconds:g} s",
            f"one of {freeze:.1f} s",
            freeze <= budget_seconds,
            slow,
        )


def now() -> datetime:
    """Return the current time in UTC, as certificates give it."""
    return datetime.now(UTC)
