"""The real service, live: its processes, players' devices that ask it, the count of what it answered, and the smoke."""
