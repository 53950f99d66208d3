"""What a simulated provider knows and counts; its exchanges read and write it."""

from collections import deque
from collections.abc import Mapping
from difflib import get_close_matches
from math import inf
from random import Random

import attrs

from streamnursery.simulator.fault import NetworkFault
from streamnursery.simulator.limits import RateLimits
from streamnursery.simulator.log import ProviderLog
from streamnursery.simulator.plan import Plan
from streamnursery.simulator.profiles import PROFILES, Profile
from streamnursery.simulator.question import Question
from streamnursery.simulator.reply import Reply, make_reply
from streamnursery.simulator.responses import Memory
from streamnursery.simulator.script import RateLimit, Script
from streamnursery.values.secret import Secret
from streamnursery.wire.openai_chat.server import ApiError


class ProviderState:
    """The models, the plan and the log of one provider, and what is in progress there."""

    def __init__(
        self,
        *,
        dice: Random,
        name: str = "sim",
        models: Mapping[str, Profile] = PROFILES,
        plan: Plan | None = None,
        speed: float = 1.0,
        key: Secret | None = None,
        fresh: bool = False,
        max_records: int = 100_000,
        socket_age: float = inf,
    ) -> None:
        """
        `speed` makes every model so many times as fast. With a `key`, requests need it as a
        bearer token or as `api-key`, `x-api-key` or `x-goog-api-key`. `fresh` gives every
        request words of its own, so that a splice of two answers to one prompt shows.
        WebSockets are closed after `socket_age` seconds.
        """
        self.name = name
        self.models = {model: profile.faster(speed) for model, profile in models.items()}
        self.plan = plan or Plan()
        self.log = ProviderLog(max_records)
        self.dice = dice
        self.responses = Memory()
        self.socket_age = socket_age
        self.heard: deque[bytes] = deque(maxlen=max_records)
        """Messages that came over WebSockets, oldest first."""
        self._key = key
        self._fresh = fresh
        self._limits = RateLimits()
        self._in_progress: dict[str, int] = {}
        self._requests = 0
        self._connections = 0
        self._lookups = 0
        self._started_at: float | None = None

    def elapsed(self, now: float) -> float:
        """Seconds since the first call of this, which is made when a server takes it up."""
        if self._started_at is None:
            self._started_at = now
        return now - self._started_at

    def lookup_fails(self, now: float) -> bool:
        """Whether the next look-up of its name, which is counted, fails."""
        self._lookups += 1
        return self.plan.for_lookup(self._lookups, self.elapsed(now), self.dice)

    def connection_faults(self, now: float) -> tuple[NetworkFault, ...]:
        """The network faults of the next connection, which is counted."""
        self._connections += 1
        return self.plan.for_connection(self._connections, self.elapsed(now), self.dice)

    def profile(self, model: str) -> Profile:
        """Raises `ApiError` 404 for a model that nobody knows."""
        profile = self.models.get(model)
        if profile is None:
            close = get_close_matches(model, self.models, 1)
            hint = (
                f"Did you mean '{close[0]}'?" if close else "GET /v1/models lists those there are."
            )
            shown = model[:80]
            msg = f"The model '{shown}' does not exist. {hint}"
            raise ApiError(404, msg, param="model", code="model_not_found")
        return profile

    def enter(self, model: str) -> int:
        """Count a request in progress; how many there are now, this one included."""
        self._in_progress[model] = self._in_progress.get(model, 0) + 1
        return self._in_progress[model]

    def leave(self, model: str) -> None:
        self._in_progress[model] -= 1
        if not self._in_progress[model]:
            del self._in_progress[model]

    @property
    def requests_in_progress(self) -> int:
        """Chat completions that were begun and have not ended."""
        return sum(self._in_progress.values())

    def make_reply(
        self, question: Question, script: Script, profile: Profile, number: int
    ) -> Reply:
        lengths = profile.output_tokens
        if not self._fresh:
            return make_reply(question, script, lengths)
        if question.prefix:
            number = self._broken_off(question, script, lengths) or number
        return make_reply(question, script, lengths, self._salt(number))

    def _broken_off(
        self, question: Question, script: Script, lengths: tuple[int, int]
    ) -> int | None:
        """The number of the request whose answer `question` asks to go on with."""
        whole = attrs.evolve(question, messages=question.messages[:-1], max_tokens=None)
        for record in reversed(self.log):
            if record.reply and record.intended().startswith(question.prefix):
                said = make_reply(whole, script, lengths, self._salt(record.number))
                if said.choices[0].text.startswith(question.prefix):
                    return record.number
        return None

    def _salt(self, number: int) -> str:
        return f"{self.name} {number}"

    def admit(
        self, limit: RateLimit, question: Question, reply: Reply, now: float
    ) -> list[tuple[str, str]]:
        tokens = reply.input_tokens + (question.max_tokens or reply.output_tokens)
        return self._limits.admit(limit, question.plain, tokens, now)
