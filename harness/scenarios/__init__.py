"""Scenario files: their shape, what they mean, how they are read, and the schema that editors check them by."""

from __future__ import annotations

from harness.scenarios.reading import BadScenario, ScenarioFile, read, read_file, read_files

__all__ = ["BadScenario", "ScenarioFile", "read", "read_file", "read_files"]
