"""Converts a SQLite file in UTF-16 to one in UTF-8, and proves that nothing was lost."""
