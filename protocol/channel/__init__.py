"""The encrypted channel between two nodes: a sans-I/O machine."""
