"""The Noise protocol engine, named after the specification (revision 34)."""
