"""Fresh databases: clones of a migrated template, and a reset in place that proves that nothing is left."""

from __future__ import annotations

from harness.databases.clones import ENVIRONMENT, Database, Databases

__all__ = ["ENVIRONMENT", "Database", "Databases"]
