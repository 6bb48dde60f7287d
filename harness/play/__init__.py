"""Plays: a scenario on a store, each command through the game's own dispatch, and what is expected of it."""
