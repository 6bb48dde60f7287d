"""A legacy file as the tools read it: opened with care, its schema checked, its rows streamed, two files compared."""
