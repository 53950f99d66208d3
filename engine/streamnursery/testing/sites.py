"""Where the providers of a world are, and what time it is there."""

import attrs
import trio

from streamnursery.simulator import Host
from streamnursery.simulator.exchange import EPOCH
from streamnursery.values.http import HttpVersion
from streamnursery.values.origin import BaseUrl
from streamnursery.values.secret import Secret


class Wall:
    """Unix time in a world. It runs with the virtual clock, and may jump."""

    def __init__(self, start: float = float(EPOCH)) -> None:
        self._offset = start

    def __call__(self) -> float:
        return self._offset + trio.current_time()

    def jump(self, seconds: float) -> None:
        """Set the clock forward, or back with a negative number; trio's own clock goes on."""
        self._offset += seconds


@attrs.frozen
class Site:
    """One provider, and how it is spoken to."""

    host: str
    place: Host
    key: Secret | None
    http: HttpVersion
    dialect: str = ""

    @property
    def url(self) -> BaseUrl:
        """Under which its dialect's paths lie."""
        version = "v1beta" if self.dialect.startswith("gemini") else "v1"
        return BaseUrl.parse(f"http://{self.host}/{version}")
