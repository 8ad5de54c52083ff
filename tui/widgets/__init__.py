"""How things are drawn: rows, thumbnails, lines of keys and words. No call to the node."""
