"""Takes, verifies and restores snapshots of both stores."""
