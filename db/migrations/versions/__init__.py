"""Revisions, numbered. One that was applied anywhere is never edited: its hash is kept with it."""
