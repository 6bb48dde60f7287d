"""pytest's side of the harness, alone: options, fixtures, collection, items."""
