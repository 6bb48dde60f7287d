"""Proof: fresh databases, scenarios, and the rehearsal."""
