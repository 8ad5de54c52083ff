"""Pixels to cells: what a terminal can show, and a picture as strips of it."""
