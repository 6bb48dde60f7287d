"""Connections to the Postgres of an environment, and what its server, database and roles have to be."""
