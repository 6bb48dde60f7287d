"""What a gate's pass is worth: a certificate that binds it to a commit, a schema, the scenarios and a server, signed.

Unsigned certificates serve development and test alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db.errors import Refusal

MAX_AGE = timedelta(hours=24)
UNSIGNED_STAGES = ("development", "test")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is true here and now, to which a certificate must agree."""

    commit: str
    clean: bool
    schema_head: str
    scenario_digest: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A gate's finding. freeze_seconds: how long the rehearsal was read-only; made_at: ISO time in UTC."""

    environment: str
    verdict: str
    commit: str
    clean: bool
    schema_head: str
    scenario_digest: str
    scenarios: int
    twins: int
    rehearsed_players: int
    freeze_seconds: float
    server_kind: str
    server_version: str
    made_at: str

    def signed(self, key: str | None) -> dict[str, object]:
        """The certificate as JSON values, with its signature: an HMAC-SHA256, or None without a key."""
        body = asdict(self)
        return {**body, "signature": signature(body, key) if key else None}


def signature(body: Mapping[str, object], key: str) -> str:
    """The HMAC-SHA256 of the certificate's canonical JSON, in hex."""
    text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


def digest_of(folder: Path) -> str:
    """One hash over every scenario file's path and content."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.yaml")):
        whole.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def read(path: Path) -> tuple[Certificate, str | None]:
    """A certificate and its signature from a gate's report; Refusal where there is none."""
    try:
        body = json.loads(path.read_text())
        values = dict(body["certificate"])
        given = values.pop("signature")
        return Certificate(**values), given
    except OSError as error:
        raise Refusal(
            "the report of a gate", error.strerror or "nothing that can be read", where=str(path),
            do="Make one with `invoke gate --env NAME --json FILE`.",
        ) from None  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal("the report of a gate, with its certificate", f"{error}", where=str(path)) from None


def verify(path: Path, environment: str, here: Standing, *, key: str | None, now: datetime, major: int) -> Certificate:
    """The certificate, if it admits what stands here to `environment`; else a Refusal that says which part does not.

    `major` is the target server's major version.
    """
    certificate, given = read(path)
    _check_signature(certificate, given, environment, key, path)
    for expected, found, agrees in _bindings(certificate, environment, here, now, major):
        if not agrees:
            raise Refusal(expected, found, where=str(path), do=f"Run `invoke gate --env {environment}` on this commit.")
    return certificate


def _check_signature(
    certificate: Certificate, given: str | None, environment: str, key: str | None, path: Path
) -> None:
    if given is None or not key:
        if environment in UNSIGNED_STAGES:
            return
        found = "an unsigned certificate" if given is None else "no GATE_SIGNING_KEY to check the signature with"
        raise Refusal(
            "a signed certificate", found, where=str(path), do="Set GATE_SIGNING_KEY, where the gate runs too."
        )
    if not hmac.compare_digest(signature(asdict(certificate), key), given):
        raise Refusal("the signature that the gate made", "one that does not fit: the file was changed, or another key",
                      where=str(path), do="Run the gate again; never edit its report.")  # fmt: skip


def _bindings(
    certificate: Certificate, environment: str, here: Standing, now: datetime, major: int
) -> list[tuple[str, str, bool]]:
    made = datetime.fromisoformat(certificate.made_at)
    version = certificate.server_version
    return [
        ("the verdict pass", certificate.verdict, certificate.verdict == "pass"),
        (
            f"a certificate for {environment}",
            f"one for {certificate.environment}",
            certificate.environment == environment,
        ),
        ("a certificate of a clean tree", "one of a tree with changes", certificate.clean),
        ("a clean tree here", "changes that no gate has seen", here.clean),
        (f"commit {here.commit[:12]}", f"commit {certificate.commit[:12]}", certificate.commit == here.commit),
        (
            f"schema {here.schema_head}",
            f"schema {certificate.schema_head}",
            certificate.schema_head == here.schema_head,
        ),
        ("the scenarios that stand here", "other scenarios", certificate.scenario_digest == here.scenario_digest),
        (f"PostgreSQL {major}", f"PostgreSQL {version}", version.split(".", maxsplit=1)[0] == str(major)),
        (f"one made within {MAX_AGE}", f"one made at {certificate.made_at}", timedelta(0) <= now - made <= MAX_AGE),
        ("at least one scenario", "none", certificate.scenarios > 0),
    ]


def now() -> datetime:
    """The time that certificates speak of, in UTC."""
    return datetime.now(UTC)
