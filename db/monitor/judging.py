"""Judges a check: measures the value and compares it with its limit."""

from __future__ import annotations

from collections.abc import Mapping

from db.monitor.check import Check, CheckOutcome, Judgement, Limit, NotApplicable, NotJudged
from db.monitor.look import Look
from game.printable import cut, line
from game.redaction import redact

MOST_CHARACTERS = 1_000
"""The longest text of a check. Ids of a legacy file, names of sessions and statements may be of any length."""


def judge(check: Check, look: Look, limits: Mapping[str, float]) -> Judgement:
    """Measure a check and compare the value with its limit; `limits` are the environment's own, by the check's name."""
    own = limits.get(check.name)
    limit = (
        check.limit
        if own is None
        else Limit(own, check.limit.unit, "environments.toml, watch.limits", check.limit.least)
    )
    measured, why, outcome = None, "", CheckOutcome.OK
    try:
        measured = look.measure(check)
        if limit.breached(measured.value):
            outcome = CheckOutcome.BREACH
    except NotJudged as error:
        why, outcome = str(error), CheckOutcome.NOT_JUDGED
    except NotApplicable as error:
        why, outcome = str(error), CheckOutcome.NOT_APPLICABLE
    return Judgement(
        check=check.name,
        outcome=outcome,
        value=None if measured is None else measured.value,
        unit=limit.unit,
        limit=limit.value,
        least=limit.least,
        source=limit.source,
        window_seconds=None if measured is None else measured.window_seconds,
        evidence="" if measured is None else shown(measured.evidence),
        why=shown(why),
        do=check.do if outcome is CheckOutcome.BREACH else "",
    )


def shown(text: str) -> str:
    """Return a text of players, sessions or the server as one line that people, mails and webhooks may get.

    Postgres normalizes no utility statement: pg_stat_statements holds ALTER ROLE ... PASSWORD as it was sent.
    """
    return line(cut(redact(text), MOST_CHARACTERS))
