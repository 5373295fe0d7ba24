"""Which addresses are this machine's own."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, as it stands in a URL, in a Host header or in the settings, with or without a port, is this
    machine."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    candidate = host if host.count(":") > 1 and not host.startswith("[") else name
    if candidate.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(candidate).is_loopback
    except ValueError:
        return False
