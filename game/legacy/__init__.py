"""The legacy SQLite store and the one codec that reads its rows."""
