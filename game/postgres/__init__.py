"""The Postgres store of the game, and its SQL."""
