"""Joining a team by a short code."""
