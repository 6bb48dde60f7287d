"""Proves a check: silent without its defect, a breach with it, silent after the remedy that it prints."""

from __future__ import annotations

from db.monitor.check import CheckOutcome, Judgement
from tests.db.monitor.planting import Plant, Planted, remedy
from tests.db.monitor.watched import Watched
from tests.fixtures.waiting import until


def prove(own: Watched, name: str, plant: Plant) -> None:
    """Look as the monitor and as the owner, before and during the defect, and after the remedy's own statements."""
    own.require_statements(name)
    own.limits |= plant.limits
    for role, kept in own.kept.items():
        if not kept.execute("select 1 from looks").fetchone():
            own.look(name, role=role)  # Whichever test is the first here has no look before it.
        require(own.judge(name, role), CheckOutcome.OK, CheckOutcome.NOT_APPLICABLE)
    with plant.planted(own) as planted:
        for role in own.kept:
            judged = seen(own, name, role, planted) if plant.again else own.judge(name, role, planted.env)
            require(judged, CheckOutcome.BREACH)
            assert planted.names in judged.evidence, judged
            assert judged.do
            assert "{env}" not in judged.do
        if planted.fill is not None:
            own.run(*remedy(name, planted.fill))
            require_cleared(own, name)
    require_cleared(own, name)
    for limit in plant.limits:
        del own.limits[limit]


def seen(own: Watched, name: str, role: str, planted: Planted) -> Judgement:
    judged: list[Judgement] = []

    def left() -> list[str]:
        judged.append(own.judge(name, role, planted.env))
        return [] if judged[-1].outcome is CheckOutcome.BREACH else [str(judged[-1])]

    until(left)
    return judged[-1]


def require(judged: Judgement, *outcomes: CheckOutcome) -> None:
    assert judged.outcome in outcomes, f"{judged.check}: {judged.value} {judged.evidence}{judged.why}"


def require_cleared(own: Watched, name: str) -> None:
    """Wait until the check is silent, as after a reload, and so far from its limit that an alarm of it ends."""

    def left() -> list[str]:
        judged = own.judge(name)
        silent = judged.outcome in (CheckOutcome.OK, CheckOutcome.NOT_APPLICABLE) and judged.cleared
        return [] if silent else [str(judged)]

    until(left)
