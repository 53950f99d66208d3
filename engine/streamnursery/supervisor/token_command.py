"""Access tokens that a command prints, such as `gcloud auth print-access-token`.

Rule 1: one run at a time for all that wait; it goes on when they have left.
Rule 2: a token is asked for again before it expires, and after a provider has refused it (401).
        Without a date it is used for `LASTS` seconds: the usual commands keep theirs, and answer at
        once while it is good.
Rule 3: nothing that the command prints stands in an error or a log.
"""

import json
from collections.abc import Callable
from math import inf

import attrs
import trio

from streamnursery.values.errors import AuthError
from streamnursery.values.secret import Secret, key_problem

LASTS = 300.0
"""Seconds for which a token without an expiry is used."""
EARLY = 60.0
"""Seconds before its end at which a token is asked for again."""
_NAMES = ("access_token", "accessToken", "token", "id_token")
_ENDS = ("expires_in", "expiresIn")

Run = Callable[[tuple[str, ...]], str]
"""Runs a command and returns what it prints. Raises `TokenCommandError`. Called in a thread."""


class TokenCommandError(Exception):
    """The command gave no token; the text says why and repeats nothing of its output."""


@attrs.frozen
class _TokenOutcome:
    token: Secret | None
    lasts: float
    problem: str = ""


@attrs.define(eq=False)
class TokenSource:
    """The token of one endpoint."""

    command: tuple[str, ...]
    endpoint: str
    run: Run = attrs.field(repr=False)
    _token: Secret | None = attrs.field(default=None, init=False)
    _until: float = attrs.field(default=-inf, init=False)
    """trio's time from which it is asked for again."""
    _running: "_TokenRun | None" = attrs.field(default=None, init=False)

    async def current(self) -> Secret:
        """A token that is good now.

        Raises:
            AuthError: the command gave none.
        """
        if self._token is None or trio.current_time() >= self._until:
            if self._running is None:
                self._running = _TokenRun()
                trio.lowlevel.spawn_system_task(self._ask, self._running)
            running = self._running
            await running.over.wait()
            self._take(running.outcome)
        assert self._token is not None
        return self._token

    def refuse(self, token: Secret | None) -> None:
        """A provider did not take `token`: the next one is another run's."""
        if token == self._token:
            self._until = -inf

    async def _ask(self, running: "_TokenRun") -> None:
        # A system task that raises ends the program: everything is an outcome.
        try:
            running.outcome = _outcome(
                await trio.to_thread.run_sync(self.run, self.command, abandon_on_cancel=True)
            )
        except TokenCommandError as error:
            running.outcome = _TokenOutcome(None, 0.0, str(error))
        except Exception as error:  # noqa: BLE001
            running.outcome = _TokenOutcome(
                None, 0.0, f"it could not be run: {type(error).__name__}"
            )
        finally:
            self._running = None
            running.over.set()

    def _take(self, outcome: _TokenOutcome) -> None:
        if outcome.token is None:
            msg = (
                f"the token command of endpoint {self.endpoint!r} gave no token: "
                f"{outcome.problem or 'it was not run to its end'}"
            )
            raise AuthError(msg)
        self._token = outcome.token
        self._until = trio.current_time() + outcome.lasts


class _TokenRun:
    """One run, and what came of it."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.outcome = _TokenOutcome(None, 0.0)


def _outcome(printed: str) -> _TokenOutcome:
    """The token alone on a line, or an object of JSON with it (OAuth's answer and the like)."""
    text, lasts = printed.strip(), LASTS
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except ValueError:
            return _TokenOutcome(None, 0.0, "what it prints is no JSON object")
        text = next((value[n] for n in _NAMES if isinstance(value.get(n), str)), "")
        ends = next((value[n] for n in _ENDS if isinstance(value.get(n), int | float)), None)
        if ends is not None:
            lasts = max(0.0, float(ends) - EARLY)
    if not text:
        return _TokenOutcome(None, 0.0, "it printed none")
    token = Secret(text)
    problem = key_problem(token)
    return _TokenOutcome(None if problem else token, lasts, problem or "")
