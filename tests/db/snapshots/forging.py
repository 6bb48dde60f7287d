"""Snapshots as somebody else made or changed them."""

from __future__ import annotations

import dataclasses
from typing import Any

from db import snapshots
from db.snapshots import Snapshot, manifest


def forged(snapshot: Snapshot, data: bytes | None = None, **changes: Any) -> Snapshot:
    """The snapshot with other bytes or another manifest, whose digest fits; nobody signed it."""
    if data is not None:
        snapshot.path.write_bytes(data)
    sizes = {"size": snapshot.path.stat().st_size, "sha256": manifest.digest(snapshot.path)}
    manifest.write(snapshot.folder, dataclasses.replace(snapshot.manifest, **{**sizes, **changes}), None)
    return snapshots.read(snapshot.folder)
