"""Benchmarks: each measures ours and its rivals in one run, turn by turn, and says whether the target was met."""
