"""Capabilities: terms, the split key, manifests, opens and statements (architecture 4.5)."""
