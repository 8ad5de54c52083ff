"""Clean copies of picture files, without touching a pixel: an allow-list walk for each format."""
