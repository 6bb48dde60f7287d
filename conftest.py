"""What every test may use beside the harness: tiny suites, run by pytest within pytest."""

from __future__ import annotations

pytest_plugins = ["pytester"]
