"""Adds up what the strikes of a run counted, prints it, and after `--exhaustive` writes it into out/strikes.json."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from db.files import private
from harness.pytest_plugin.items import counts_of

REPORT = Path("out") / "strikes.json"
COUNTED = ("strikes", "lost", "doubled", "dead_ends")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the count of the strikes of all workers."""
    struck, watched = counts_of(terminalreporter, "strikes"), counts_of(terminalreporter, "watched")
    if not struck:
        return
    figures: Counter[str] = Counter()
    for item in struck:
        figures.update({name: count for name, count in item.items() if name not in ("step", "statements")})
    by_step = {item["step"]: item["statements"] for item in struck}
    report = {
        "steps": len(by_step),
        "statements": sum(by_step.values()),
        "watched": sum(item["statements"] for item in watched),
        "looked": sum(item["looked"] for item in watched),
        "breaches": sum(item["breaches"] for item in watched),
        **figures,
        "seconds": round(figures["seconds"], 1),
    }
    line = ", ".join(f"{name.replace('_', ' ')} {report.get(name, 0):,}" for name in COUNTED)
    terminalreporter.write_line(f"struck inside {report['steps']} steps of {report['statements']:,} statements: {line}")
    if config.getoption("exhaustive"):
        private.make_folder(config.rootpath / REPORT.parent)
        private.write(config.rootpath / REPORT, json.dumps(report, indent=1) + "\n")
