"""Raw files that nobody has described become the facts of a competition."""
