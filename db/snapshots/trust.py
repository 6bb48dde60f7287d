"""Decides which snapshots are admitted, and which count as verified: those whose manifest or note the key here signed.

In development and test unsigned ones too. Whoever can write to the folder and has no key can make neither.
"""

from __future__ import annotations

from db import environments, signing
from db.errors import Refusal
from db.signing import SIGNING_KEY, UNSIGNED_STAGES
from db.snapshots import manifest
from db.snapshots.manifest import Snapshot


def key_for(environment: str) -> str | None:
    """Return the key to sign with; None in development and test without one. Raises Refusal elsewhere."""
    key = environments.secret(SIGNING_KEY)
    if key:
        signing.sign({}, key)  # Refuses a key that is too short now, and not after the dump.
    elif environment not in UNSIGNED_STAGES:
        raise Refusal(
            f"{SIGNING_KEY}, with which a snapshot of {environment} is signed",
            "none",
            do=f"Write into .env, or export, the {SIGNING_KEY} with which certificates are signed. Nothing was begun.",
        )
    return key


def require(snapshot: Snapshot, *, unsigned: bool = False) -> None:
    """Raise Refusal unless the manifest bears a signature of the key here. unsigned: admit one that bears none.

    A signature that does not fit is never admitted: then the manifest is not what was signed.
    """
    made, key, where = snapshot.manifest, environments.secret(SIGNING_KEY), str(snapshot.folder)
    if made.signature is None:
        if unsigned or made.environment in UNSIGNED_STAGES:
            return
        raise Refusal(
            "a signed snapshot",
            "an unsigned one",
            where=where,
            do="Name another with --path. If you know that nobody changed this one, add --unsigned.",
        )
    if not key:
        if made.environment in UNSIGNED_STAGES:
            return
        raise Refusal(
            "a signed snapshot",
            f"no {SIGNING_KEY} to check the signature with",
            where=where,
            do=f"Write into .env, or export, the {SIGNING_KEY} with which it was signed.",
        )
    if not made.fits(key):
        raise Refusal(
            "the signature that was made with the snapshot",
            "one that does not fit: the manifest was changed, or another key",
            where=where,
            do=f"Export the {SIGNING_KEY} with which it was signed. If it was changed: name another with --path.",
        )


def is_admitted(snapshot: Snapshot) -> bool:
    """Return True if `require` would pass."""
    try:
        require(snapshot)
    except Refusal:
        return False
    return True


def is_verified(snapshot: Snapshot) -> bool:
    """Return True if this very file was restored and counted, by who has the key here."""
    note, made, key = manifest.note(snapshot), snapshot.manifest, environments.secret(SIGNING_KEY)
    if note is None:
        return False
    if note.signature is None or not key:
        return made.environment in UNSIGNED_STAGES
    try:
        return note.fits(made, key)
    except Refusal:  # A key that is too short signed nothing.
        return False


def note_verified(snapshot: Snapshot) -> None:
    """Note, signed with the key here, that the snapshot was restored and counted."""
    manifest.note_verified(snapshot, environments.secret(SIGNING_KEY))
