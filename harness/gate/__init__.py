"""The gate: proves a commit on throwaway servers, and says with a certificate what that proof is worth."""

from __future__ import annotations

from harness.gate.admission import checkout_state, verify
from harness.gate.report import Ended, GatePart, GateReport, Item, RunCounts, Sweeps
from harness.gate.run import GateOptions, run, show

__all__ = [
    "Ended",
    "GateOptions",
    "GatePart",
    "GateReport",
    "Item",
    "RunCounts",
    "Sweeps",
    "checkout_state",
    "run",
    "show",
    "verify",
]
