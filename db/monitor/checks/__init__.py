"""Every check of the watch, in the order of the page; docs/watch.md is made of it."""

from __future__ import annotations

from db.monitor.check import Check
from db.monitor.checks import backups, counters, game, indexes, server, service, sessions, settings, statements, tables

GROUPS: dict[str, tuple[Check, ...]] = {
    "players and service": (*game.CHECKS, *service.CHECKS),
    "sessions": sessions.CHECKS,
    "statements": (*statements.CHECKS, *counters.CHECKS),
    "tables": tables.CHECKS,
    "indexes": indexes.CHECKS,
    "server": (*settings.CHECKS, *server.CHECKS),
    "backups": backups.CHECKS,
}
CHECKS: tuple[Check, ...] = tuple(check for group in GROUPS.values() for check in group)
BY_NAME: dict[str, Check] = {check.name: check for check in CHECKS}
