"""The gate: proves a commit on throwaway servers, and says with a certificate what that proof is worth."""

from __future__ import annotations

from harness.gate.admission import standing, verify
from harness.gate.report import Ended, GateReport, Item, Part, Sweeps, Tally
from harness.gate.run import Wish, run, show

__all__ = [
    "Ended",
    "GateReport",
    "Item",
    "Part",
    "Sweeps",
    "Tally",
    "Wish",
    "run",
    "show",
    "standing",
    "verify",
]
