"""Anomalies of real files that no schema declares, and which players of a sample have them.

Each was seen in a real file, or in another SQLite source and is to be survived.
"""

from __future__ import annotations

from random import Random

from db.samples import carried_anomalies, held_anomalies, sizes
from db.samples.anomaly import Anomaly

ANOMALIES = (*held_anomalies.ANOMALIES, *carried_anomalies.ANOMALIES)
"""Those that hold a player come first: they need one each to themselves."""


def assign(players: int, draw: Random) -> dict[int, list[Anomaly]]:
    """Return which players get which anomalies: each one at least `least` times, never two on one column of a player.

    Where there are too few players for all, the first of the list are found in them; at most half have one.
    """
    # What an anomaly changes has to be there, so nobody has one who has another number of something.
    order = [n for n in draw.sample(range(players), players) if not sizes.has_one(n)]
    alone = sum(1 for anomaly in ANOMALIES if anomaly.holds)
    candidates = order[: max(alone + 14, players // 8) if players >= 50 else players // 2]
    assigned: dict[int, list[Anomaly]] = {}
    for anomaly in ANOMALIES:
        for n in _places(anomaly, candidates, assigned, max(anomaly.least, round(players * anomaly.share))):
            assigned.setdefault(n, []).append(anomaly)
    return assigned


def _places(anomaly: Anomaly, candidates: list[int], assigned: dict[int, list[Anomaly]], number: int) -> list[int]:
    """Return the players with the fewest anomalies so far whose columns are free; a held player has one alone."""
    free = [n for n in candidates if _fits(anomaly, assigned.get(n, []))]
    return sorted(free, key=lambda n: len(assigned.get(n, ())))[:number]


def _fits(anomaly: Anomaly, others: list[Anomaly]) -> bool:
    if any(other.holds for other in others) or (anomaly.holds and others):
        return False
    taken = {column for other in others for column in other.columns}
    return taken.isdisjoint(anomaly.columns)
