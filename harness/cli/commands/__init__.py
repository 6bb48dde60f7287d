"""Moves: what the tasks do to an environment that is there: cutover, rollback, transfer, snapshots, status."""
