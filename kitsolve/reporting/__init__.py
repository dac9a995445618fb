"""One page about a run: what it has learned, where it fails, and what in the data looks wrong."""
