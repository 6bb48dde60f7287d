"""The rules of the game over rows in memory. They know no SQL, no HTTP and no legacy format."""
