"""A request's head, and the ways in which a request comes to nothing."""

import attrs


class ClientGoneError(Exception):
    """The client has left, or sent nothing for too long."""


class RefusedError(Exception):
    """A request that the server does not take, with the status of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@attrs.frozen
class RequestHead:
    """A request line and its headers; names are lower case."""

    method: str
    """Empty for what is not HTTP: then `refuse` is called, and `serve` is not."""
    target: str = attrs.field(repr=False)
    headers: tuple[tuple[str, str], ...] = attrs.field(repr=False)
    version: str = "1.1"
    """"1.0", "1.1" or "2"."""

    @property
    def keep_alive(self) -> bool:
        """Whether the client lets the connection live on (RFC 9112 9.3)."""
        if self.version == "2":
            return True
        options = ",".join(value for name, value in self.headers if name == "connection")
        closes = "close" in {option.strip().lower() for option in options.split(",")}
        return self.version == "1.1" and not closes and self.method != "CONNECT"
