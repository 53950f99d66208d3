"""Which names of a Host header are of this machine.

A server on the loopback is reached by web pages too: by a name of theirs that they let resolve to
127.0.0.1 (DNS rebinding). Their requests carry that name, so it is looked at.
"""

from ipaddress import ip_address


def is_local(authority: str) -> bool:
    """Whether a Host header's value, with or without a port, names this machine."""
    host = authority.rpartition(":")[0] if not authority.endswith("]") else authority
    host = (host or authority).strip("[]").lower()
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
