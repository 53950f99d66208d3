"""Which replica has seen the beginning of a prompt, within a bound on load.

Servers keep what they have computed of a prompt's prefix. A request is cheaper and sooner answered
where its prefix was computed before: at the replica that has seen the longest part of it. A bound
keeps a popular prefix from crowding one replica (Mirrokni, Thorup, Zadimoghaddam, "Consistent
Hashing with Bounded Loads", 2016).

Rule 1: a replica takes no more than its share of the recent requests and a quarter, and four: a few
        requests do not count as load.
Rule 2: among those within the bound the longest prefix wins, then the smallest load.
Rule 3: an affinity key stands for the whole prompt.
Rule 4: what is remembered has a bound, the least recently used prefix goes first.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from math import exp

import attrs

from streamnursery.values.request import ChatRequest

BLOCK = 256
"""Characters of a prompt that count as one step of a prefix."""
MOST_BLOCKS = 256
"""Of one prompt that are looked at."""
REMEMBERED = 65_536
"""Prefixes."""
SLACK = 1.25
FREE = 4
_DECAY = 30.0
"""Seconds in which a request counts a third of what it did as load."""


def prefixes(request: ChatRequest) -> tuple[bytes, ...]:
    """Names of the prompt's beginnings, each a block longer than the one before."""
    if request.affinity:
        return (blake2b(f"key {request.affinity}".encode(), digest_size=8).digest(),)
    found: list[bytes] = []
    state = blake2b(digest_size=8)
    for block in _blocks(request):
        state.update(block)
        found.append(state.digest())
        if len(found) == MOST_BLOCKS:
            break
    return tuple(found)


def _blocks(request: ChatRequest) -> Iterator[bytes]:
    for message in request.messages:
        content = message.get("content")
        text = content if isinstance(content, str) else repr(content)
        data = f"{message.get('role')}:{text}"
        for start in range(0, len(data), BLOCK):
            yield data[start : start + BLOCK].encode("utf-8", "replace")


@attrs.define(eq=False)
class _Recent:
    count: float = 0.0
    at: float = 0.0

    def now(self, now: float) -> float:
        self.count *= exp(-(now - self.at) / _DECAY)
        self.at = now
        return self.count


@attrs.define(eq=False)
class PrefixAffinity:
    """Of one model: which of its replicas has seen which prefixes."""

    _seen: OrderedDict[bytes, set[str]] = attrs.field(factory=OrderedDict, init=False)
    _loads: dict[str, _Recent] = attrs.field(factory=dict, init=False)

    def choose(self, replicas: Sequence[str], names: Sequence[bytes], now: float) -> str:
        """The replica for a prompt with these prefixes; it is taken to see them now."""
        loads = {one: self._loads.setdefault(one, _Recent()).now(now) for one in replicas}
        most = SLACK * sum(loads.values()) / len(replicas) + FREE
        known = self._known(names)
        free = [one for one in replicas if loads[one] + 1 <= most] or list(replicas)
        chosen = min(free, key=lambda one: (-known.get(one, 0), loads[one]))
        self._loads[chosen].count += 1
        for name in names:
            self._seen.setdefault(name, set()).add(chosen)
            self._seen.move_to_end(name)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return chosen

    def _known(self, names: Sequence[bytes]) -> dict[str, int]:
        """How many steps of the prefix each replica has seen."""
        found: dict[str, int] = {}
        alive: set[str] | None = None
        for length, name in enumerate(names, 1):
            here = self._seen.get(name, set())
            alive = set(here) if alive is None else alive & here
            if not alive:
                break
            found.update(dict.fromkeys(alive, length))
        return found
