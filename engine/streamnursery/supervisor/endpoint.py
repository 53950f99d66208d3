"""An endpoint as the supervisor uses it: its values, its wire language, its way out."""

from functools import lru_cache
from urllib.parse import quote, urlencode

import attrs

from streamnursery._version import __version__
from streamnursery.supervisor.command_run import run_command
from streamnursery.supervisor.ports import Transport
from streamnursery.supervisor.token_command import TokenSource
from streamnursery.values.http import Header, HttpRequest, Peer, check_header
from streamnursery.values.request import CREDENTIAL_HEADERS, ChatRequest
from streamnursery.values.secret import RenewableSecret, Secret, secret_texts
from streamnursery.values.settings import Auth, Endpoint
from streamnursery.wire.bedrock_converse.stream import BedrockStream
from streamnursery.wire.dialect import Dialect, Resumption, StreamDecoder
from streamnursery.wire.guarded import GuardedDecoder
from streamnursery.wire.ollama_chat.stream import OllamaStream
from streamnursery.wire.sse import MAX_EVENT
from streamnursery.wire.sse_stream import SSE_HEADERS, SseStream

_AUTH_HEADERS: dict[Auth, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer "),
    "api-key": ("api-key", ""),
    "x-api-key": ("x-api-key", ""),
    "x-goog-api-key": ("x-goog-api-key", ""),
}

_OF_A_BODY = frozenset(name for name, _ in SSE_HEADERS)
_SAFE = "/%:@!$&'()*+,;=~"
"""What a path may hold besides letters and digits (RFC 3986 3.3)."""


@attrs.define(eq=False)
class Outlet:
    """One endpoint, ready to send to."""

    endpoint: Endpoint
    dialect: Dialect
    transport: Transport
    _headers: tuple[Header, ...] = attrs.field(repr=False)
    _peer: Peer
    _query: str = attrs.field(repr=False)
    token: TokenSource | None = None
    """Where its key comes from, if a command prints it."""
    _checked: int = attrs.field(init=False)
    """How many headers were found fit to send, once for all requests."""
    credentials: int = attrs.field(default=0, init=False)
    """How often they were replaced by newer ones."""

    connected: bool = attrs.field(default=False, init=False)
    """Whether there was ever a connection to it."""

    _secrets: list[str] = attrs.field(init=False, repr=False)
    _path_and_target: tuple[str, str] = attrs.field(default=("", ""), init=False, repr=False)
    """Of the latest request: most go to one path."""

    def __attrs_post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        fit = all(check_header(name, value) is None for name, value in self._headers)
        self._checked = len(self._headers) if fit else 0
        self._secrets = secret_texts(self._headers)

    def renew_credentials(self, used: int) -> bool:
        """Whether there are newer credentials than those that `credentials` = `used` stands for.

        It reads small local files, opened without blocking, in the task that calls it.
        """
        if self.token is not None and self.credentials == used:
            self.token.refuse(self.endpoint.key)  # the next attempt asks for another one
            return True
        if self.credentials == used:
            read_again(self.endpoint)
            # Compared here: another outlet of the endpoint may have renewed the same secret.
            headers = _headers(self.endpoint, self.dialect)
            if headers != self._headers:
                self._headers = headers
                self._check()
                self.credentials += 1
        return self.credentials != used

    async def take_token(self) -> None:
        """Send with a token that is good now; only where there is a `token`.

        Raises:
            AuthError: its command gave none.
        """
        assert self.token is not None
        token = await self.token.current()
        if token != self.endpoint.key:
            self.endpoint = attrs.evolve(self.endpoint, key=token)
            self._headers = _headers(self.endpoint, self.dialect)
            self._check()
            self.credentials += 1

    @classmethod
    def of(cls, endpoint: Endpoint, dialect: Dialect, transport: Transport) -> "Outlet":
        command = endpoint.token_command
        return cls(
            endpoint,
            dialect,
            transport,
            headers=_headers(endpoint, dialect),
            peer=endpoint.peer,
            query=f"?{urlencode(endpoint.query)}" if endpoint.query else "",
            token=TokenSource(command, endpoint.name, run_command) if command else None,
        )

    def http_request(
        self, request: ChatRequest, model: str, extra: tuple[Header, ...] = ()
    ) -> HttpRequest:
        """`request` in this endpoint's language, with its key and with no other's.

        Raises:
            RequestError: the request cannot be encoded.
        """
        path = self.dialect.path(request, model)
        known, target = self._path_and_target
        if path != known:
            target = self._target(path)
            self._path_and_target = path, target
        headers = self._with(extra)
        return HttpRequest(
            peer=self._peer,
            method="POST",
            target=target,
            headers=headers,
            body=self.dialect.encode(request, self.endpoint, model),
            checked=min(self._checked, len(headers) - len(extra)),
        )

    def bounded(self, decoder: StreamDecoder) -> StreamDecoder:
        """`decoder`, with this endpoint's bound on one event. Framings of other dialects than SSE
        have their own bounds."""
        most = self.endpoint.max_event_bytes
        if most != MAX_EVENT:
            framing = decoder.inner if isinstance(decoder, GuardedDecoder) else decoder
            if isinstance(framing, SseStream | BedrockStream | OllamaStream):
                framing.limit(most)
        return decoder

    def _target(self, path: str) -> str:
        """A path below the base URL and its query, with the endpoint's own behind that."""
        path, mark, query = path.partition("?")
        target = _quoted(self.endpoint.url.path + path)
        if not mark:
            return target + self._query
        return f"{target}?{query}{self._query.replace('?', '&', 1)}"

    def secrets(self) -> list[str]:
        """The credentials that are sent, as text: for taking them out of what comes back."""
        return self._secrets

    def _with(self, extra: tuple[Header, ...]) -> tuple[Header, ...]:
        """This endpoint's headers and others, which replace those of the same name."""
        if len(extra) > 1:
            names = {name for name, _ in extra}
            own = tuple(pair for pair in self._headers if pair[0] not in names)
            return own + extra
        return self._headers + extra

    def heartbeat(self) -> HttpRequest:
        """A question that costs nothing, with this endpoint's key and no other's, and with the
        version of its language: Anthropic answers nothing without one."""
        path = _quoted(self.endpoint.url.path + self.endpoint.heartbeat.path)
        return HttpRequest(
            peer=self._peer,
            method="GET",
            target=path + self._query,
            headers=tuple(pair for pair in self._headers if pair[0] not in _OF_A_BODY),
        )

    def relayed(
        self, method: str, path: str, headers: tuple[Header, ...], body: bytes
    ) -> HttpRequest:
        """A request that is passed on: with this endpoint's key, unless `headers`, of which the
        last of a name counts, hold one that is meant for it."""
        given = dict(headers)
        keyed = not CREDENTIAL_HEADERS.isdisjoint(given)
        own = [
            (name, value)
            for name, value in self._headers
            if name not in given and not (keyed and name in CREDENTIAL_HEADERS)
        ]
        if not body:
            own = [pair for pair in own if pair[0] not in _OF_A_BODY]
        return HttpRequest(
            peer=self._peer,
            method=method,
            target=self._target(path),
            headers=(*own, *given.items()),
            body=body,
        )

    def resumption(self, asked: Resumption, extra: tuple[Header, ...] = ()) -> HttpRequest:
        """The rest of a stream, asked for with this endpoint's key."""
        query = urlencode({**self.endpoint.query, **asked.query})
        path = self.endpoint.url.path + asked.path
        return HttpRequest(
            peer=self._peer,
            method=asked.method,
            target=_quoted(path) + (f"?{query}" if query else ""),
            headers=self._with((*asked.headers, *extra)),
            body=asked.body,
        )


@lru_cache(maxsize=1024)
def _quoted(path: str) -> str:
    return quote(path, safe=_SAFE)


def _headers(endpoint: Endpoint, dialect: Dialect) -> tuple[Header, ...]:
    own = dict(dialect.headers(endpoint))
    return tuple({**own, **dict(identity_headers(endpoint, dialect))}.items())


def read_again(endpoint: Endpoint) -> None:
    """Read the key files of an endpoint: small local files, opened without blocking."""
    for secret in endpoint.secrets:
        if isinstance(secret, RenewableSecret):
            secret.renew()


def identity_headers(endpoint: Endpoint, dialect: Dialect) -> tuple[Header, ...]:
    """Who asks, with which key, and what the configuration adds; for any kind of request."""
    headers: dict[str, str | Secret] = {"user-agent": f"streamnursery/{__version__}"}
    auth = endpoint.auth or ("bearer" if endpoint.token_command else dialect.auth)
    if endpoint.key is not None and auth != "none":
        name, prefix = _AUTH_HEADERS[auth]
        headers[name] = Secret(prefix + endpoint.key.reveal())
    for name, value in endpoint.headers.items():
        # What one request sends does not change with a renewal; `renew_credentials` compares it.
        fixed = Secret(value.reveal()) if isinstance(value, RenewableSecret) else value
        headers[name.lower()] = fixed
    return tuple(headers.items())
