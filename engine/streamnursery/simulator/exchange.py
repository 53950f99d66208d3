"""One request at a simulated provider and its answer, without I/O.

Rule 1: an exchange is begun with the request's head and answered with its body. What the head
        already decides (`early`, `reset_upload_after`) must not wait for the body.
Rule 2: an answer is a sequence of steps; the caller that takes them reports what was sent and how
        it ended, and so writes the log. Every record ends once.
Rule 3: faults concern chat completions; those that end an answer after so many bytes and
        those that do not wait for the body concern every request.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from urllib.parse import unquote

import attrs

from streamnursery.serving.handshake import accepted, wants_websocket
from streamnursery.serving.head import RefusedError
from streamnursery.serving.steps import (
    CLOSE,
    JSON,
    End,
    How,
    Send,
    Step,
    close_delimited,
    head,
    whole,
)
from streamnursery.simulator import odd_answers
from streamnursery.simulator.at_once import at_once
from streamnursery.simulator.chat import AnswerSpec, first
from streamnursery.simulator.cuts import broken_off
from streamnursery.simulator.grammar import ScriptError, parse_script
from streamnursery.simulator.log import RequestRecord
from streamnursery.simulator.prefix_cache import account_of
from streamnursery.simulator.profiles import Profile
from streamnursery.simulator.provider_state import ProviderState
from streamnursery.simulator.question import Question
from streamnursery.simulator.reply import Reply
from streamnursery.simulator.script import (
    CloseDelimited,
    CloseIdle,
    Cut,
    CutUpload,
    Delay,
    Garbage,
    Overload,
    RateLimit,
    Redirect,
    Reset,
    Script,
    Status,
)
from streamnursery.wire.openai_chat.server import ApiError

EPOCH = 1_767_225_600
"""Unix time of the start of every simulated provider: 2026-01-01."""
SCRIPT_HEADER = "x-sim-script"


@attrs.frozen
class Renderer:
    """How an API words an answer."""

    events: Callable[[], Iterator[Step]]
    completion: Callable[[], bytes]
    kind: tuple[str, str] = odd_answers.EVENTS
    """The type of the stream."""


@attrs.frozen
class Api:
    """One API of a provider."""

    path: str
    answer: Callable[["Exchange", str, bytes, float], Iterator[Step]] | None = None
    """From the rest of the path, the body and the time. It may raise `ApiError`."""
    deep: bool = False
    """What is below its path belongs to it."""
    ends: str | tuple[str, ...] = ""
    """What its paths end in."""
    upgrades: bool = False
    """It is spoken on WebSockets too."""
    error_body: Callable[[ApiError], bytes] = lambda error: error.body
    """Its shape of an error."""
    own_headers: Callable[[list[tuple[str, str]], float], list[tuple[str, str]]] = (
        lambda headers, _: headers
    )
    """Its names for the headers of an answer at a Unix time."""

    def below(self, path: str) -> str | None:
        """The rest of a path that belongs to it; None: it does not."""
        below = path.removeprefix(self.path)
        ours = path.startswith(self.path) and (not below or (self.deep and below[0] == "/"))
        return below[1:] if ours and path.endswith(self.ends) else None


class Exchange:
    """One request and its answer. Made by `Provider.begin`."""

    def __init__(
        self,
        state: ProviderState,
        record: RequestRecord,
        headers: Mapping[str, str],
        script: Script,
        chunks: bool,
        keep_alive: bool,
        query: str,
        apis: Sequence[Api],
    ) -> None:
        self.record = record
        self.reset_upload_after: int | None = None
        """Bytes of the request's body after which the connection is to be reset."""
        self.early: Iterator[Step] | None = None
        """An answer that does not wait for the body; the connection cannot go on after it."""
        self.close_idle: float | None = None
        """Seconds of idleness after which the connection is to be closed from now on."""
        self.state = state
        self.provider = state.provider
        self._chunks = chunks
        self._keep_alive = keep_alive
        self.query = query
        self.host = headers.get("host", "localhost")
        path = unquote(record.path)
        self._api = next((api for api in apis if api.below(path) is not None), None)
        self._account = account_of(headers)
        self._upgrade = headers if wants_websocket(headers.items()) else None
        self._entered: str | None = None
        self._refusal: ApiError | None = None
        self._status: int | None = None
        self._now = record.received_at
        asked: Script = ()
        try:
            asked = parse_script(headers[SCRIPT_HEADER]) if SCRIPT_HEADER in headers else ()
        except ScriptError as error:
            msg = f"{SCRIPT_HEADER}: {error}"
            self._refusal = ApiError(400, msg, param=SCRIPT_HEADER, code="invalid_script")
        self._asked = asked
        record.script = (*script, *asked)
        self._decide_early()

    def _decide_early(self) -> None:
        cut = first(self.record.script, CutUpload)
        self.reset_upload_after = cut.after if cut else None
        status = first(self.record.script, Status)
        if status is not None and status.early:
            self._keep_alive = False
            self.early = self._finished(
                odd_answers.error_status(
                    status, self.headers(), keep=False, worded=self._error_body
                )
            )

    def answer(self, body: bytes, now: float) -> Iterator[Step]:
        """The steps of the answer to a request whose body has arrived."""
        self._now = now
        try:
            if self._refusal is not None:
                raise self._refusal
            return self._finished(self._routed(body, now))
        except ApiError as error:
            return self._finished(self._refused(error))

    def refuse(self, status: int, message: str) -> Iterator[Step]:
        """An answer to something that is not an HTTP request; the connection ends with it."""
        self._keep_alive = False
        return self._finished(self._refused(ApiError(status, message)))

    # What is reported by the caller that takes the steps. -----------------------------------

    def sent(self, nbytes: int, tokens: int, now: float) -> None:
        """Bytes were handed to the network, and with them the end of so many tokens."""
        record = self.record
        record.sent_bytes += nbytes
        if record.first_byte_at is None:
            record.first_byte_at = now
            record.status = self._status
        if tokens:
            record.sent_tokens += tokens
            if record.first_token_at is None:
                record.first_token_at = now

    def ended(self, note: str, now: float) -> None:
        """The answer is over; only the first report counts."""
        if self.record.ended_at is None:
            self.record.ended_at = now
            self.record.ending = note
            if self._entered is not None:
                self.state.leave(self._entered)

    # Answers. -------------------------------------------------------------------------------

    def headers(self, *more: tuple[str, str]) -> list[tuple[str, str]]:
        own = [("server", "streamnursery-sim"), ("x-request-id", self.record.id), *more]
        return own if self._keep_alive else [*own, CLOSE]

    def _refused(self, error: ApiError) -> Iterator[Step]:
        headers = self._named(self.headers(JSON, *error.headers), self._now)
        end = End(How.KEEP, "bad request" if error.status < 429 else "status")
        return whole(error.status, self._error_body(error), headers, end=end)

    def _error_body(self, error: ApiError) -> bytes:
        return error.body if self._api is None else self._api.error_body(error)

    def _named(self, headers: list[tuple[str, str]], now: float) -> list[tuple[str, str]]:
        unix = EPOCH + self.provider.elapsed(now)
        return headers if self._api is None else self._api.own_headers(headers, unix)

    def _finished(self, steps: Iterator[Step]) -> Iterator[Step]:
        """With the faults that touch any answer, and the end that the client asked for."""
        begin = next(steps)
        if isinstance(begin, Send) and begin.data.startswith(b"HTTP/1.1 "):
            self._status = int(begin.data[9:12])
        steps = chain([begin], steps)
        for fault in self.record.script:
            if isinstance(fault, CloseIdle):
                self.close_idle = fault.after
            elif isinstance(fault, Cut) and fault.unit == "bytes":
                steps = broken_off(steps, fault.at, End(How.CUT, "cut"))
            elif isinstance(fault, Reset) and fault.unit == "bytes":
                steps = broken_off(steps, fault.at, End(How.RESET, "reset"))
        return steps if self._keep_alive else close_delimited(steps)

    def _routed(self, body: bytes, now: float) -> Iterator[Step]:
        if self.record.credential in ("wrong", "missing"):
            self._deny()
        api = self._api
        below = api.below(unquote(self.record.path)) if api is not None else None
        if api is not None and below is not None:
            if api.upgrades and not below and self._upgrade is not None:
                return self._handshake(self._upgrade)
            if api.answer is not None:
                return api.answer(self, below, body, now)
        msg = f"Unknown request URL: {self.record.method} {self.record.path[:200]}."
        raise ApiError(404, msg, code="unknown_url")

    def _deny(self) -> None:
        what = "Incorrect API key provided." if self.record.credential == "wrong" else "No API key."
        msg = f"{what} Send it as 'Authorization: Bearer KEY'."
        raise ApiError(401, msg, code="invalid_api_key", kind="authentication_error")

    def only(self, allowed: str) -> None:
        """Raises `ApiError` 405 for another method."""
        if self.record.method != allowed:
            msg = f"Not allowed to {self.record.method} on {self.record.path}."
            headers = [("allow", allowed)]
            raise ApiError(405, msg, code="method_not_supported", headers=headers)

    def _handshake(self, given: Mapping[str, str]) -> Iterator[Step]:
        """The switch to a WebSocket, or what stands in its place."""
        self.only("GET")
        try:
            accepting = accepted(given.items())
        except RefusedError as error:
            raise ApiError(error.status, str(error), code="not_implemented") from None
        switch = Send(head(101, (*accepting, *self.headers())))
        return self._in_place(self.headers()) or iter((switch, End(How.TALK, "socket")))

    def _in_place(self, headers: list[tuple[str, str]]) -> Iterator[Step] | None:
        """The answer that stands in place of the usual one, if the script has any."""
        for fault in self.record.script:
            if isinstance(fault, Status):
                return odd_answers.error_status(
                    fault, headers, keep=self._keep_alive, worded=self._error_body
                )
            if isinstance(fault, Redirect):
                return odd_answers.redirect(fault, headers)
        return None

    def sheet_for(self, question: Question, now: float) -> AnswerSpec:
        """The sheet of an answer on a WebSocket.

        Raises:
            ApiError: a fault stands in its place.
        """
        sheet, _ = self._enter(question, now)
        for fault in sheet.script:
            if isinstance(fault, Status):
                raise _told_error(fault)
        self.record.response_id = response_id = sheet.id.replace("chatcmpl-", "resp_")
        return attrs.evolve(sheet, id=response_id)

    def _enter(self, question: Question, now: float) -> tuple[AnswerSpec, list[tuple[str, str]]]:
        """Take up the question; what will be said, and headers about limits."""
        state, provider, record = self.state, self.provider, self.record
        profile = state.profile(question.plain)
        elapsed = provider.elapsed(now)
        planned = provider.plan.for_request(record.number, elapsed, provider.dice, question.plain)
        record.script = (*record.script, *planned, *question.script)
        record.model, record.stream = question.plain, question.stream
        self._entered = question.plain
        at_once = state.enter(question.plain)
        record.reply = state.make_reply(
            question, record.script, profile, record.number, self._account
        )
        headers: list[tuple[str, str]] = []
        for fault in record.script:
            if isinstance(fault, RateLimit):
                headers += state.admit(fault, question, record.reply, now)
            elif isinstance(fault, Overload) and at_once > fault.beyond:
                raise _overloaded(fault)
        return self._sheet(question, record.reply, profile, at_once, now), headers

    def answered(
        self, question: Question, now: float, voice: Callable[[AnswerSpec], Renderer]
    ) -> Iterator[Step]:
        """The answer to a question, in the words of its API."""
        sheet, limits = self._enter(question, now)
        if first(sheet.script, CloseDelimited):
            self._chunks = self._keep_alive = False
        headers = self._named([*self.headers(), *limits], now)
        return self._in_place(headers) or self._said(sheet, voice(sheet), headers)

    def plain(
        self, model: str, script: Script, body: bytes, now: float, *, tokens: int
    ) -> Iterator[Step]:
        """JSON that is not a completion, with the faults that can strike it."""
        record, provider = self.record, self.provider
        elapsed = provider.elapsed(now)
        planned = provider.plan.for_request(record.number, elapsed, provider.dice, model)
        record.script = (*record.script, *planned, *script)
        record.model = model
        delay = first(record.script, Delay) or Delay()
        at = now + (delay.first_token or delay.first_byte or 0.0)
        headers = self.headers()
        return self._in_place(headers) or at_once(
            record.script, body, headers, at=at, tokens=tokens
        )

    def _sheet(
        self, question: Question, reply: Reply, profile: Profile, at_once: int, now: float
    ) -> AnswerSpec:
        delay = first(self.record.script, Delay) or Delay()
        wait = profile.first_token_after(self.provider.dice.random()) * profile.pressure(at_once)
        wait *= 1 - reply.cached_tokens / max(1, reply.input_tokens)
        first_at = now + (wait if delay.first_token is None else delay.first_token)
        head_at = now if delay.first_byte is None else now + delay.first_byte
        return AnswerSpec(
            id=f"chatcmpl-{self.provider.name}-{self.record.number}",
            created=EPOCH + int(self.provider.elapsed(now)),
            question=question,
            reply=reply,
            script=self.record.script,
            head_at=head_at,
            first_at=max(head_at, first_at),
            gap=profile.gap / question.n,
        )

    def _said(
        self, sheet: AnswerSpec, voice: Renderer, headers: list[tuple[str, str]]
    ) -> Iterator[Step]:
        garbage = first(sheet.script, Garbage)
        if garbage is not None:
            return odd_answers.garbage(garbage, headers, voice.events())
        if not sheet.question.stream:
            tokens = sheet.reply.output_tokens
            at = sheet.first_at + max(0, tokens - 1) * sheet.gap
            return at_once(sheet.script, voice.completion(), headers, at=at, tokens=tokens)
        return self.streamed(voice.events(), headers, sheet.head_at, voice.kind)

    def streamed(
        self,
        steps: Iterator[Step],
        headers: list[tuple[str, str]],
        at: float,
        kind: tuple[str, str] = odd_answers.EVENTS,
    ) -> Iterator[Step]:
        return odd_answers.streamed(
            steps,
            (*headers, kind, ("cache-control", "no-cache")),
            at=at,
            chunks=self._chunks,
            script=self.record.script,
        )


def _told_error(fault: Status) -> ApiError:
    error = odd_answers.error_of(fault)
    wait = fault.retry_after
    return ApiError(
        fault.code,
        error["message"] or "",
        code=error["code"],
        kind=error["type"] or "",
        headers=() if wait is None else (("retry-after", str(wait)),),
    )


def _overloaded(fault: Overload) -> ApiError:
    headers = () if fault.retry_after is None else (("retry-after", f"{fault.retry_after:g}"),)
    msg = "The engine is currently overloaded, please try again later."
    return ApiError(503, msg, code="overloaded", kind="server_error", headers=headers)
