"""The signed list of members and the rules by which it changes."""
