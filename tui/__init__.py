"""The terminal UI.

Belongs here: screens and widgets that show what the node's control client says.
Never here: domain decisions, the vault, or anything of ``protocol``.
"""
