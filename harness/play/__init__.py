"""Plays a scenario on a store through the game's own dispatch, and compares the outcome with what is expected."""
