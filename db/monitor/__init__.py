"""Watches an environment after the move: `watching.look` judges every check of `checks.CHECKS` once."""
