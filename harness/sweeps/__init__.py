"""Sweeps: a scenario under each fault at each round trip, and two commands in each order of their statements."""
