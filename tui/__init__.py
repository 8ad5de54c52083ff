"""The terminal UI.

Belongs here: screens and widgets that show what the node's control client says.
Never here: domain decisions, the vault, or anything of ``protocol``.

Data goes one way: ``gateway`` (calls and events of the node, cleaned) → ``screens`` (one file
each, what a person does) → ``widgets`` (how it is drawn). ``app`` wires them; ``keymap`` and
``theme`` say how keys and colours may be changed; ``pictures`` turns pixels into cells.
"""
