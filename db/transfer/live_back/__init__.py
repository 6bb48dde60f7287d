"""Live write-back: brings the legacy file up to Postgres in rounds, while players play on Postgres."""
