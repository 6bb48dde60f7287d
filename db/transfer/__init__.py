"""Moves every row from the legacy file to Postgres and back, and proves it."""
