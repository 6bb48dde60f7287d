"""The audit: breaks each promise on purpose, one at a time. A break that no test notices is a failure."""

from __future__ import annotations

from harness.audit.generated_run import run as run_generated
from harness.audit.mutations import MUTATIONS, Mutation
from harness.audit.report import AuditReport, Result, show
from harness.audit.run import run

__all__ = ["MUTATIONS", "AuditReport", "Mutation", "Result", "run", "run_generated", "show"]
