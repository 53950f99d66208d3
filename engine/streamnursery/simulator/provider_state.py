"""What a simulated provider knows and counts."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from random import Random
from typing import Protocol

import attrs

from streamnursery.serving.steps import Step
from streamnursery.simulator.batches import Batches
from streamnursery.simulator.fault import NetworkFault
from streamnursery.simulator.files import UploadedFiles
from streamnursery.simulator.kept import Memory
from streamnursery.simulator.limits import RateLimits
from streamnursery.simulator.log import ProviderLog, RequestRecord
from streamnursery.simulator.message_batches import MessageBatches
from streamnursery.simulator.plan import Plan
from streamnursery.simulator.prefix_cache import PrefixCache
from streamnursery.simulator.profiles import Profile
from streamnursery.simulator.question import Question
from streamnursery.simulator.reply import Reply, make_reply
from streamnursery.simulator.script import RateLimit, Script
from streamnursery.wire.openai_chat.server import ApiError


class BegunExchange(Protocol):
    """What an API that asks its own provider needs of an `Exchange`."""

    record: RequestRecord

    def answer(self, body: bytes, now: float) -> Iterator[Step]: ...
    def sent(self, nbytes: int, tokens: int, now: float) -> None: ...
    def ended(self, note: str, now: float) -> None: ...


class PublicProvider(ABC):
    """What a program may see and change of a provider."""

    def __init__(
        self,
        dice: Random,
        name: str,
        models: Mapping[str, Profile],
        plan: Plan | None,
        max_records: int,
        socket_age: float,
    ) -> None:
        self.name = name
        self.models = models
        self.plan = plan or Plan()
        self.log = ProviderLog(max_records)
        self.dice = dice
        self.socket_age = socket_age
        self.heard: deque[bytes] = deque(maxlen=max_records)
        """Messages that came over WebSockets, oldest first."""
        self._started_at: float | None = None

    @abstractmethod
    def begin(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        now: float,
        *,
        version: str = "1.1",
        keep_alive: bool = True,
    ) -> "BegunExchange":
        """Take up a request whose head has arrived; header names are lower case."""

    def elapsed(self, now: float) -> float:
        """Seconds since the first call of this, which is made when a server takes it up."""
        if self._started_at is None:
            self._started_at = now
        return now - self._started_at


class ProviderState:
    """What a provider counts and remembers; its exchanges read and write it."""

    def __init__(self, provider: PublicProvider, fresh: bool) -> None:
        self.provider = provider
        self.responses = Memory("Response")
        self.interactions = Memory("Interaction")
        self.files = UploadedFiles()
        self.batches = Batches(self.files)
        self.message_batches = MessageBatches()
        self.prefixes: dict[tuple[str, int], PrefixCache] = {}
        """What is kept of prompts, by model and account."""
        self.in_progress: dict[str, int] = {}
        """Requests by model."""
        self._fresh = fresh
        self._limits = RateLimits()
        self._connections = 0
        self._lookups = 0

    def lookup_fails(self, now: float) -> bool:
        """Whether the next look-up of its name, which is counted, fails."""
        self._lookups += 1
        return self.provider.plan.for_lookup(
            self._lookups, self.provider.elapsed(now), self.provider.dice
        )

    def connection_faults(self, now: float) -> tuple[NetworkFault, ...]:
        """The network faults of the next connection, which is counted."""
        self._connections += 1
        return self.provider.plan.for_connection(
            self._connections, self.provider.elapsed(now), self.provider.dice
        )

    def profile(self, model: str) -> Profile:
        """Raises `ApiError` 404 for an unknown model."""
        profile = self.provider.models.get(model)
        if profile is None:
            close = get_close_matches(model, self.provider.models, 1)
            hint = (
                f"Did you mean '{close[0]}'?" if close else "GET /v1/models lists those there are."
            )
            shown = model[:80]
            msg = f"The model '{shown}' does not exist. {hint}"
            raise ApiError(404, msg, param="model", code="model_not_found")
        return profile

    def enter(self, model: str) -> int:
        """Count a request in progress; how many there are now, this one included."""
        self.in_progress[model] = self.in_progress.get(model, 0) + 1
        return self.in_progress[model]

    def leave(self, model: str) -> None:
        self.in_progress[model] -= 1
        if not self.in_progress[model]:
            del self.in_progress[model]

    def make_reply(
        self, question: Question, script: Script, profile: Profile, number: int, account: int
    ) -> Reply:
        lengths = profile.output_tokens
        if self._fresh and question.prefix:
            number = self._broken_off(question, script, lengths) or number
        salt = self._salt(number) if self._fresh else ""
        reply = make_reply(question, script, lengths, salt)
        if not profile.prefix_cache:
            return reply
        cache = self.prefixes.setdefault((question.plain, account), PrefixCache())
        cached = cache.look_up(question, profile.prefix_cache)
        return attrs.evolve(reply, cached_tokens=cached)

    def _broken_off(
        self, question: Question, script: Script, lengths: tuple[int, int]
    ) -> int | None:
        """The number of the request whose answer `question` asks to go on with."""
        whole = attrs.evolve(question, messages=question.messages[:-1], max_tokens=None)
        for record in reversed(self.provider.log):
            if record.reply and record.intended().startswith(question.prefix):
                said = make_reply(whole, script, lengths, self._salt(record.number))
                if said.choices[0].text.startswith(question.prefix):
                    return record.number
        return None

    def _salt(self, number: int) -> str:
        return f"{self.provider.name} {number}"

    def admit(
        self, limit: RateLimit, question: Question, reply: Reply, now: float
    ) -> list[tuple[str, str]]:
        tokens = reply.input_tokens + (question.max_tokens or reply.output_tokens)
        return self._limits.admit(limit, question.plain, tokens, now)
