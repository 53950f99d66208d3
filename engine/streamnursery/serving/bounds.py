"""What a server takes, and how long it waits."""

import attrs

MEBIBYTE = 1024 * 1024


@attrs.frozen
class Bounds:
    """The limits of one server. Seconds may be `inf`."""

    body: int = 32 * MEBIBYTE
    """Bytes of one request's body; 413 beyond it."""
    bodies: int = 256 * MEBIBYTE
    """Bytes of the bodies of all requests that are received or answered; 503 beyond it."""
    connections: int = 20_000
    """At once; more are reset."""
    idle: float = 75.0
    """Seconds for which a client may be silent when it is its turn, and for a TLS handshake."""
    request: float = 120.0
    """Seconds from the first byte of a request to the last one of its body; 408 after it."""

    def __attrs_post_init__(self) -> None:
        for name in ("body", "bodies", "connections", "idle", "request"):
            if not getattr(self, name) > 0:
                msg = f"Bounds.{name} must be > 0, not {getattr(self, name)!r}"
                raise ValueError(msg)


class BodyBudget:
    """Bytes of request bodies that a server holds, over all its connections."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, nbytes: int) -> bool:
        """Whether there was room for them."""
        if self.held + nbytes > self.limit:
            return False
        self.held += nbytes
        return True

    def give_back(self, nbytes: int) -> None:
        self.held -= nbytes
