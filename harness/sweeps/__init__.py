"""Sweeps: a scenario under each fault at each of its round trips; two commands in each order of their statements."""
