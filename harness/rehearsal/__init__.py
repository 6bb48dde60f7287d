"""The rehearsal: the whole move and the way back, under load, on throwaway copies."""

from __future__ import annotations

from harness.rehearsal.report import Leg, RehearsalReport, show
from harness.rehearsal.run import SEED, rehearse

__all__ = ["SEED", "Leg", "RehearsalReport", "rehearse", "show"]
