"""What a simulated server keeps of the prompts it has computed, as servers with paged attention do
(Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention",
2023): whole blocks of tokens, found by all that stands before them.

Rule 1: what is cached is a beginning: a block counts only where every block before it is there.
Rule 2: a prompt's last block is computed whatever is cached: no prompt is cached as a whole.
Rule 3: the least recently used block goes first.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from hashlib import blake2b

import attrs

from streamnursery.simulator.question import Question
from streamnursery.simulator.reply import input_tokens, words_of

BLOCK = 16
"""Tokens."""
_KEYS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")


def account_of(headers: Mapping[str, str]) -> int:
    """Who asks; what was computed for one account is found by no other."""
    return hash(tuple(headers.get(name) for name in _KEYS))


@attrs.define
class PrefixCache:
    """Of one model and one account at one provider."""

    _blocks: OrderedDict[bytes, None] = attrs.field(factory=OrderedDict, init=False)

    def look_up(self, question: Question, tokens: int) -> int:
        """Tokens of the prompt that were there; now all are, in a cache of so many `tokens`."""
        cached, found = 0, True
        for end, name in _blocks_of(question):
            found = found and name in self._blocks
            cached = end if found else cached
            self._blocks[name] = None
            self._blocks.move_to_end(name)
        while len(self._blocks) > tokens // BLOCK:
            self._blocks.popitem(last=False)
        return cached - BLOCK if cached == input_tokens(question) else cached


def _blocks_of(question: Question) -> Iterator[tuple[int, bytes]]:
    """Each full block of the prompt: where it ends, and its name."""
    state, count = blake2b(digest_size=8), 0
    for message in question.messages:
        role = str(message.get("role"))
        for word in (role, "", "", *words_of(message.get("content"))):
            state.update(word.encode("utf-8", "replace") + b"\0")
            count += 1
            if count % BLOCK == 0:
                yield count, state.digest()
