"""The APIs of a simulated provider: where each is, and how it reads and answers."""

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from urllib.parse import parse_qsl

import attrs
import msgspec

from streamnursery.serving.steps import JSON, Step, whole
from streamnursery.simulator import (
    chat,
    converse,
    embeddings,
    files,
    generate,
    interactions,
    messages,
    ollama,
    responses,
)
from streamnursery.simulator.batches import Ask, taken
from streamnursery.simulator.chat import AnswerSpec
from streamnursery.simulator.exchange import EPOCH, Api, Exchange, Renderer
from streamnursery.simulator.kept import Kept, Memory
from streamnursery.simulator.question import question_from, understood
from streamnursery.simulator.script import Script
from streamnursery.wire.anthropic_messages.server import error_body, question_of_messages
from streamnursery.wire.bedrock_converse.server import error_body as amazon_error
from streamnursery.wire.bedrock_converse.server import question_of_converse
from streamnursery.wire.gemini.server import error_body as google_error
from streamnursery.wire.gemini.server import question_of_contents
from streamnursery.wire.gemini_interactions.server import question_of_interaction
from streamnursery.wire.ollama_chat.server import error_body as ollama_error
from streamnursery.wire.ollama_chat.server import question_of_chat
from streamnursery.wire.openai_chat.server import ApiError, json_object
from streamnursery.wire.openai_responses.server import question_of_response


def _chat(exchange: Exchange, _: str, body: bytes, now: float) -> Iterator[Step]:
    exchange.only("POST")

    def voice(sheet: AnswerSpec) -> Renderer:
        return Renderer(partial(chat.events, sheet), partial(chat.completion, sheet))

    return exchange.answered(question_from(json_object(body)), now, voice)


def _messages(exchange: Exchange, _: str, body: bytes, now: float) -> Iterator[Step]:
    exchange.only("POST")
    messages.check_version(dict(exchange.record.headers))

    def voice(sheet: AnswerSpec) -> Renderer:
        sheet = attrs.evolve(sheet, id=sheet.id.replace("chatcmpl-", "msg_"))
        return Renderer(partial(messages.events, sheet), partial(messages.completion, sheet))

    question = understood(question_of_messages(json_object(body)))
    return exchange.answered(question, now, voice)


def _generate(exchange: Exchange, rest: str, body: bytes, now: float) -> Iterator[Step]:
    name, _, verb = rest.rpartition(":")
    if not name or verb not in ("generateContent", "streamGenerateContent"):
        raise ApiError(404, f"Unknown method '{verb[:80]}'.")
    exchange.only("POST")
    stream = verb == "streamGenerateContent"
    if stream and dict(parse_qsl(exchange.query)).get("alt") != "sse":
        raise ApiError(400, "The simulated provider streams with alt=sse alone.")

    def voice(sheet: AnswerSpec) -> Renderer:
        sheet = attrs.evolve(sheet, id=sheet.id.replace("chatcmpl-", ""))
        return Renderer(partial(generate.events, sheet), partial(generate.completion, sheet))

    question = understood(question_of_contents(json_object(body), name, stream=stream))
    return exchange.answered(question, now, voice)


def _converse(exchange: Exchange, rest: str, body: bytes, now: float) -> Iterator[Step]:
    exchange.only("POST")
    name, _, verb = rest.rpartition("/")
    stream = verb == "converse-stream"

    def voice(sheet: AnswerSpec) -> Renderer:
        said = partial(converse.events, sheet), partial(converse.completion, sheet)
        return Renderer(*said, converse.EVENT_STREAM)

    question = understood(question_of_converse(json_object(body), name, stream=stream))
    return exchange.answered(question, now, voice)


def _ollama(exchange: Exchange, _: str, body: bytes, now: float) -> Iterator[Step]:
    exchange.only("POST")

    def voice(sheet: AnswerSpec) -> Renderer:
        said = partial(ollama.events, sheet), partial(ollama.completion, sheet)
        return Renderer(*said, ollama.LINES)

    return exchange.answered(understood(question_of_chat(json_object(body))), now, voice)


def _amazon_headers(headers: list[tuple[str, str]], _: float) -> list[tuple[str, str]]:
    """Amazon says nothing of limits."""
    names = {"x-request-id": "x-amzn-requestid"}
    return [
        (names.get(name, name), value)
        for name, value in headers
        if not name.startswith("x-ratelimit-")
    ]


def _anthropic_headers(headers: list[tuple[str, str]], unix: float) -> list[tuple[str, str]]:
    request_id = next(value for name, value in headers if name == "x-request-id")
    return [("request-id", request_id), *messages.limit_headers(headers, unix)]


def _azure(exchange: Exchange, name: str, body: bytes, now: float) -> Iterator[Step]:
    """The chat API, with the model in the path and a version in the query."""
    if "api-version" not in dict(parse_qsl(exchange.query)):
        raise ApiError(404, "Resource not found")
    asked = json_object(body) | {"model": name.removesuffix(DEPLOYED)}
    return _chat(exchange, "", msgspec.json.encode(asked), now)


def _models(exchange: Exchange, name: str, _: bytes, __: float) -> Iterator[Step]:
    exchange.only("GET")
    provider = exchange.provider
    shown = {
        model: {"id": f"sim/{model}" if model == "fast" else model, "object": "model"}
        | {"created": EPOCH, "owned_by": provider.name}
        for model in provider.models
    }
    content: object = {"object": "list", "data": list(shown.values())}
    if name:
        plain = name.removeprefix("sim/")
        exchange.state.profile(plain)
        content = shown[plain] | {"id": name}
    return whole(200, msgspec.json.encode(content), exchange.headers(JSON))


def _responses(exchange: Exchange, name: str, body: bytes, now: float) -> Iterator[Step]:
    memory = exchange.state.responses
    if not name:
        exchange.only("POST")
        question = understood(question_of_response(json_object(body), memory.earlier))
        return exchange.answered(question, now, partial(_new_response, memory))
    kept = memory.get(name.removesuffix("/cancel"))
    if name.endswith("/cancel"):
        exchange.only("POST")
        if kept.cancelled_at is None and now < kept.done_at:
            kept.cancelled_at = now
    else:
        exchange.only("GET")
        query = dict(parse_qsl(exchange.query))
        if query.get("stream") == "true":
            return _resumed(exchange, kept, query.get("starting_after", "-1"))
    return whole(200, responses.completion(kept, now), exchange.headers(JSON))


def _new_response(memory: Memory, sheet: AnswerSpec) -> Renderer:
    sheet = attrs.evolve(sheet, id=sheet.id.replace("chatcmpl-", "resp_"))
    kept = Kept(sheet)
    if sheet.question.store:
        memory.keep(kept)
    return Renderer(
        partial(responses.events, kept, sheet.script),
        partial(responses.completion, kept, inf),
    )


def _resumed(exchange: Exchange, kept: Kept, after: str) -> Iterator[Step]:
    behind = int(after) if after.removeprefix("-").isdecimal() else -1
    return _streamed_again(exchange, kept, partial(responses.events, behind=behind))


def _streamed_again(
    exchange: Exchange, kept: Kept, events: Callable[[Kept, Script], Iterator[Step]]
) -> Iterator[Step]:
    if not kept.sheet.question.background:
        msg = "Only what was created with background=true can be streamed again."
        raise ApiError(400, msg, param="stream")
    record = exchange.record
    record.model, record.stream = kept.sheet.question.plain, True
    return exchange.streamed(events(kept, record.script), exchange.headers(), -inf)


def _interactions(exchange: Exchange, name: str, body: bytes, now: float) -> Iterator[Step]:
    memory = exchange.state.interactions
    if not name:
        exchange.only("POST")
        asked = question_of_interaction(json_object(body), memory.earlier)
        return exchange.answered(understood(asked), now, partial(_new_interaction, memory))
    kept = memory.get(name.removesuffix("/cancel"))
    if name.endswith("/cancel"):
        exchange.only("POST")
        if kept.cancelled_at is None and now < kept.done_at:
            kept.cancelled_at = now
    else:
        exchange.only("GET")
        query = dict(parse_qsl(exchange.query))
        if query.get("stream") == "true":
            behind = interactions.number_of(query.get("last_event_id", ""))
            return _streamed_again(exchange, kept, partial(interactions.events, behind=behind))
    return whole(200, interactions.completion(kept, now), exchange.headers(JSON))


def _new_interaction(memory: Memory, sheet: AnswerSpec) -> Renderer:
    sheet = attrs.evolve(sheet, id=sheet.id.replace("chatcmpl-", "v1_"))
    kept = Kept(sheet)
    if sheet.question.store:
        memory.keep(kept)
    return Renderer(
        partial(interactions.events, kept, sheet.script),
        partial(interactions.completion, kept, inf),
    )


def _files(exchange: Exchange, rest: str, body: bytes, now: float) -> Iterator[Step]:
    record = exchange.record
    unix = EPOCH + int(exchange.provider.elapsed(now))
    made = files.answered(exchange.state.files, record.method, rest, record.headers, body, unix)
    return files.steps_of(made, exchange.headers())


def _asking(exchange: Exchange, now: float, *headers: tuple[str, str]) -> Ask:
    """How a batch asks for one of its lines."""

    def ask(path: str, line: bytes) -> tuple[int, str, object]:
        sent = [("content-type", "application/json"), *headers]
        inner = exchange.provider.begin("POST", path, sent, now)
        inner.record.credential = exchange.record.credential
        status, answer, ending = taken(inner.answer(line, now))
        inner.sent(0, 0, now)  # so the log has its status
        inner.ended(ending, now)
        return status, inner.record.id, answer

    return ask


def _batches(exchange: Exchange, rest: str, body: bytes, now: float) -> Iterator[Step]:
    unix, ask = EPOCH + exchange.provider.elapsed(now), _asking(exchange, now)
    made = exchange.state.batches.answered(exchange.record.method, rest, body, unix, ask)
    return whole(200, msgspec.json.encode(made), exchange.headers(JSON))


def _message_batches(exchange: Exchange, rest: str, body: bytes, now: float) -> Iterator[Step]:
    record = exchange.record
    messages.check_version(dict(record.headers))
    ask = _asking(exchange, now, (messages.VERSION, record.headers[messages.VERSION]))
    made, kind = exchange.state.message_batches.answered(
        record.method,
        rest,
        dict(parse_qsl(exchange.query)),
        body,
        EPOCH + exchange.provider.elapsed(now),
        ask,
        f"http://{exchange.host}",
    )
    return whole(200, made, exchange.headers(kind))


CONVERSE = ("/converse-stream", "/converse")
DEPLOYED = "/chat/completions"
GENERATE = (":generateContent", ":streamGenerateContent")
"""Google's client asks at /v1 where another server is set."""
APIS = (
    Api("/v1/chat/completions", _chat),
    Api("/v1/responses", _responses, deep=True, upgrades=True),
    Api("/v1/messages", _messages, error_body=error_body, own_headers=_anthropic_headers),
    Api(
        "/model",
        _converse,
        deep=True,
        ends=CONVERSE,
        error_body=amazon_error,
        own_headers=_amazon_headers,
    ),
    Api(
        "/v1/messages/batches",
        _message_batches,
        deep=True,
        error_body=error_body,
        own_headers=_anthropic_headers,
    ),
    Api("/openai/deployments", _azure, deep=True, ends=DEPLOYED),
    Api("/v1beta/models", _generate, deep=True, error_body=google_error),
    *(
        Api(f"/{version}/interactions", _interactions, deep=True, error_body=google_error)
        for version in ("v1beta", "v1")
    ),
    Api("/api/chat", _ollama, error_body=ollama_error),
    Api("/v1/embeddings", embeddings.answer),
    Api("/v1/files", _files, deep=True),
    Api("/v1/batches", _batches, deep=True),
    Api("/v1/realtime", upgrades=True),
    Api("/v1/models", _generate, deep=True, ends=GENERATE, error_body=google_error),
    Api("/v1/models", _models, deep=True),
)
