"""A Safelight node: the I/O around ``protocol``.

Belongs here: vault, imaging, transport, services, the control API and the
command line, all on asyncio.
Never here: formats and rules (``protocol``) or screens (``tui``).
"""
