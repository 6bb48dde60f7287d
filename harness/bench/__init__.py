"""Benchmarks: each measures our way and its rivals by turns in one run, and compares the ratio with a target."""
