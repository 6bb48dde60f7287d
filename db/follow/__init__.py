"""Keeps the legacy file up to date with Postgres after a cutover, so that a rollback's window stays short."""
