"""Values that could not be loaded, with their original bytes; and loading them again."""
