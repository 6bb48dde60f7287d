"""Sample players, for Postgres and for legacy files: made to order, random, with the anomalies of real files."""
