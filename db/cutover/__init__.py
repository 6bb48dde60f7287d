"""The cutover and the rollback: plan, journal, steps, run."""
