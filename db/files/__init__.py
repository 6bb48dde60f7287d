"""Files that the tools read and write: for their owner alone, whole or not there, within bounds."""
