"""Snapshots as somebody else made or changed them."""

from __future__ import annotations

import dataclasses
from typing import Any

from db import snapshots
from db.snapshots import Snapshot, manifest


def forged(found: Snapshot, data: bytes | None = None, **changes: Any) -> Snapshot:
    """The snapshot with other bytes or another manifest, whose digest fits; nobody signed it."""
    if data is not None:
        found.path.write_bytes(data)
    sizes = {"size": found.path.stat().st_size, "sha256": manifest.digest(found.path)}
    manifest.write(found.folder, dataclasses.replace(found.manifest, **{**sizes, **changes}), None)
    return snapshots.read(found.folder)
