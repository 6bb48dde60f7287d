"""Writes a plan as JSON with a digest and a signature, and reads one that others may have changed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter

from db import signing
from db.cutover.plan import Plan, anew
from db.errors import Refusal
from db.files import json_files

MAX_AGE = timedelta(hours=24)
"""A certificate is as old at most."""

MOST_BYTES = 4 * 1024 * 1024
"""The largest JSON of a dry run, which lists its checks beside the plan."""

A_PLAN = "the JSON of a dry run that found nothing amiss"
_PLANS = TypeAdapter(Plan)


def to_json(plan: Plan, key: str | None) -> dict[str, object]:
    """Return the plan with its digest and its signature (None without a key). Raises Refusal of a short key."""
    body = asdict(plan) | {"not_compared": list(plan.not_compared)}
    signature = signing.sign(_signed(body), key) if key else None
    return {**body, "digest": digest_of(body), "signature": signature}


def digest_of(body: Mapping[str, object]) -> str:
    """Return the SHA-256, in hex, of all values of the plan."""
    return hashlib.sha256(signing.canonical(body)).hexdigest()


def parsed(made: Mapping[str, object]) -> Plan:
    """Return the plan of what `to_json` made."""
    body = {name: value for name, value in made.items() if name not in ("digest", "signature")}
    return json_files.fitting(body, _PLANS, "a plan")


def read(path: Path, environment: str, *, key: str | None) -> Plan:
    """Return the plan in the file, if it is of this environment and as the dry run wrote it. Raises Refusal."""
    match json_files.read_json(path, A_PLAN, do=anew(environment), most_bytes=MOST_BYTES):
        case {"plan": {"signature": str() | None as given, "digest": str() as digest, **values}}:
            body = {str(name): value for name, value in values.items()}
        case {"plan": {"environment": _, **rest}} if "digest" not in rest:
            raise _refusal("a plan with its digest", "one without", path, environment)
        case {"plan": None, "verdict": str() as verdict}:
            shown = json_files.shown(verdict)
            raise _refusal(A_PLAN, f"one that ended with {shown}, and has no plan", path, environment)
        case _:
            raise _refusal(A_PLAN, "JSON of another kind", path, environment)
    try:
        plan = json_files.fitting(body, _PLANS, "a plan")
    except json_files.Unfit as error:
        raise _refusal(A_PLAN, str(error), path, environment) from None
    if not hmac.compare_digest(digest_of(body).encode(), digest.encode()):
        raise _refusal("the digest that the dry run made", "another: the plan was edited", path, environment)
    _check_signature(body, given, path, environment, key)
    if plan.environment != environment:
        raise _refusal(f"a plan of {environment}", f"one of {plan.environment}", path, environment)
    return plan


def require_fresh(plan: Plan, path: Path, now: datetime) -> None:
    """Raise Refusal for a plan that is older than MAX_AGE, or from the future."""
    if not timedelta(0) <= now - datetime.fromisoformat(plan.made_at) <= MAX_AGE:
        raise _refusal(f"a plan made within {MAX_AGE}", f"one made at {plan.made_at}", path, plan.environment)


def _check_signature(
    body: Mapping[str, object], given: str | None, path: Path, environment: str, key: str | None
) -> None:
    if given is None or not key:
        if environment in signing.UNSIGNED_STAGES:
            return
        found = f"no {signing.SIGNING_KEY} to check the signature with" if given else "an unsigned plan"
        raise Refusal(
            "a signed plan",
            found,
            where=str(path),
            do=f"Write the {signing.SIGNING_KEY} of this environment into .env, or export it. {anew(environment)}",
        )
    if not signing.fits(_signed(body), given, key):
        found = "one that does not fit: the plan was edited, or another key"
        raise _refusal("the signature that the dry run made", found, path, environment)


def _signed(body: Mapping[str, object]) -> dict[str, object]:
    """Return what is signed: its outermost name tells it from a certificate and a manifest."""
    return {"plan": body}


def _refusal(expected: str, found: str, path: Path, environment: str) -> Refusal:
    return Refusal(expected, found, where=str(path), do=anew(environment))
