"""Fresh databases: clones of a template, and a reset in place that is proven."""

from __future__ import annotations

from harness.databases.clones import ENVIRONMENT, Database, Databases

__all__ = ["ENVIRONMENT", "Database", "Databases"]
