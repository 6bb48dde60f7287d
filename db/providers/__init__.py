"""Providers of managed servers: their promises, checks before production, and a restore that proves them."""
