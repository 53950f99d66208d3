"""What every fault is."""

import re
from typing import ClassVar


class Fault:
    """Base of everything a script can hold."""

    name: ClassVar[str]
    """In the text forms: the class in snake case."""

    def __init_subclass__(cls, **_: object) -> None:
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()


class NetworkFault(Fault):
    """Base of what happens before a request is known. Counted by connection, not by request."""
