"""Keeps an environment well: `jobs.run` analyzes, backs up, tries the backup, mends indexes, and clears up."""
