"""The behaviour of an OpenAI-compatible provider, without I/O.

Rule 1: time is an argument, chance a `random.Random`, and equal ones give equal answers.
Rule 2: no key is kept, only whether it was right.

    provider = Provider(dice=random.Random(7), plan=Plan.always(Cut(3)))
    exchange = provider.begin("POST", "/v1/chat/completions", headers, now)
    for step in exchange.answer(body, now): ...
    provider.log[-1].ending
"""

from collections.abc import Mapping, Sequence
from hmac import compare_digest
from math import inf
from random import Random
from typing import Any

from streamnursery.simulator.apis import APIS
from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.log import HEADERS, Credential, RequestRecord
from streamnursery.simulator.plan import Plan
from streamnursery.simulator.profiles import PROFILES, Profile
from streamnursery.simulator.provider_state import ProviderState, PublicProvider
from streamnursery.simulator.question import question_of
from streamnursery.simulator.reply import make_reply
from streamnursery.simulator.script import Script
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import Secret
from streamnursery.wire.openai_chat.server import ApiError


class Provider(PublicProvider):
    """One provider with its models, its plan and its log."""

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
        request its own words, so that a splice of two answers to one prompt shows.
        WebSockets are closed after `socket_age` seconds.
        """
        faster = {model: profile.faster(speed) for model, profile in models.items()}
        super().__init__(dice, name, faster, plan, max_records, socket_age)
        self._key = key
        self._requests = 0
        self._state = ProviderState(self, fresh)

    @property
    def requests_in_progress(self) -> int:
        """Answers that were begun and have not ended."""
        return sum(self._state.in_progress.values())

    def begin(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        now: float,
        *,
        version: str = "1.1",
        keep_alive: bool = True,
    ) -> Exchange:
        """Take up a request whose head has arrived; header names are lower case."""
        self._requests += 1
        given = dict(headers)
        record = RequestRecord(
            id=f"req-{self.name}-{self._requests}",
            number=self._requests,
            received_at=now,
            method=method,
            path=target.partition("?")[0],
            headers={name: given[name] for name in HEADERS if name in given},
            credential=self._check_key(given),
        )
        self.log.add(record)
        script = self.plan.for_request(record.number, self.elapsed(now), self.dice)
        query = target.partition("?")[2]
        return Exchange(
            self._state, record, given, script, version == "1.1", keep_alive, query, APIS
        )

    def expected_text(
        self, request: ChatRequest | Mapping[str, Any], *, choice: int = 0, script: Script = ()
    ) -> str:
        """The whole text that this provider would answer `request` with, unless it is `fresh`;
        `script` stands for what the header or the plan add to the model's query.

        Raises:
            ValueError: the request would be refused.
        """
        try:
            question = question_of(request)
            profile = self._state.profile(question.plain)
        except ApiError as error:
            raise ValueError(str(error)) from None
        reply = make_reply(question, (*script, *question.script), profile.output_tokens)
        return reply.choices[choice].text

    def _check_key(self, headers: Mapping[str, str]) -> Credential:
        if self._key is None:
            return "not asked"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        keys = [
            headers[name] for name in ("api-key", "x-api-key", "x-goog-api-key") if name in headers
        ]
        if scheme.lower() == "bearer":
            keys.append(token.strip())
        if not keys:
            return "missing"
        right = self._key.reveal().encode()
        return "right" if any(compare_digest(key.encode(), right) for key in keys) else "wrong"
