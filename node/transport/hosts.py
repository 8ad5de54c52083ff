"""Hosts of this machine, for telling others where it listens.

Belongs here: what stands for all of its addresses, and which they are.
Never here: listening (``listener``, ``door``), or noticing that they change
(``discovery.watcher``).
"""

from __future__ import annotations

import ifaddr


def stands_for_all(host: str) -> bool:
    """Say whether to listen at a host is to listen at every address of this machine."""
    return host in ("0.0.0.0", "::")  # noqa: S104  compared, not bound


def own_hosts() -> list[str]:
    """Return this machine's IPv4 addresses, loopback only where there is no other."""
    found = [
        str(address.ip)
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if address.is_IPv4
    ]
    return [one for one in found if not one.startswith("127.")] or found
