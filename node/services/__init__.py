"""One use case a module: what a node does for its people and its peers."""
