"""Load on the real service: its processes, virtual users, their scripts, and the count of what was answered."""
