"""The audit: the harness on itself. Each promise is broken on purpose, and some check must notice."""

from __future__ import annotations

from harness.audit.mutations import MUTATIONS, Mutation
from harness.audit.report import AuditReport, Result, show
from harness.audit.run import run

__all__ = ["MUTATIONS", "AuditReport", "Mutation", "Result", "run", "show"]
