"""NO_PROXY: which servers are reached without the proxy of the environment.

The variable has no standard. Entries stand between commas or blanks, and one of these matches:

    *                            every server
    example.com .example.com     that name and the names below it, at any port
    *.example.com                the same
    192.0.2.1  2001:db8::1       that address, written in the url as an address
    192.0.2.0/24  2001:db8::/32  an address of that network; names are not resolved for it
    any of them with :port       at that port alone; an IPv6 address then stands in brackets

as curl and Go's `httpproxy` have it. An entry that is none of them matches nothing.
"""

import ipaddress
import re
from typing import TypeAlias

_PORT = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})")
_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def bypasses(no_proxy: str, host: str, port: int) -> bool:
    """Whether `no_proxy`, the variable's text, names the server `host` at `port`."""
    name = host.lower().rstrip(".")
    address = _address(name)
    return any(_matches(entry, name, address, port) for entry in re.split(r"[,\s]+", no_proxy))


def _matches(entry: str, name: str, address: _Address | None, port: int) -> bool:
    ported = _PORT.fullmatch(entry)
    if ported is not None:
        if int(ported[2]) != port:
            return False
        entry = ported[1]
    entry = entry.lower().strip("[]")
    if entry == "*":
        return True
    if address is not None:
        return _covers(entry, address)
    suffix = entry.removeprefix("*").strip(".")
    return bool(suffix) and (name == suffix or name.endswith(f".{suffix}"))


def _covers(entry: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(name: str) -> _Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
