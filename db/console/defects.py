"""Reports a defect of a task to Sentry, where SENTRY_DSN names one, as the service reports its own. A refusal is none.

A process of its own sends the report after the command has ended: a receiver that is away or slow delays nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from db import environments

SENDER = Path(__file__).with_name("defect_sender.py")

DSN = "SENTRY_DSN"

_sending: list[subprocess.Popen[bytes]] = []
"""Kept, since Python complains of a process that is let go while it runs; nobody waits for it."""


def report(error: Exception, command: str) -> str:
    """Have the defect sent, if SENTRY_DSN is exported or stands in .env; return why it can't be, or "".

    command: the command line, without secrets. Nothing is raised: the task ends as it would without a report.
    """
    try:
        if dsn := environments.secret(DSN):
            from db.console import defect_events  # noqa: PLC0415  # it loads Sentry's SDK

            for made in defect_events.of(error, command, dsn):
                _hand_over(made)
    except Exception as reason:  # noqa: BLE001  # the defect itself is what the user has to see
        return f"the defect is not reported to Sentry: {type(reason).__name__}"
    return ""


def _hand_over(report: bytes) -> None:
    """Start the process that sends it. Its input holds the key: arguments and variables are seen by others."""
    process = subprocess.Popen(
        [sys.executable, "-I", str(SENDER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        env=environments.child_variables(),
    )
    _sending.append(process)
    assert process.stdin is not None
    with process.stdin as file:
        file.write(report)
