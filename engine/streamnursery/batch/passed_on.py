"""Rows that go to their path as they are and whose answers do not stream: embeddings and the like.

The engine's `relay` asks for them, under the same limits, money and retries as for a stream.
"""

import attrs
import msgspec

from streamnursery.batch.lines import BatchRow
from streamnursery.facade import Engine
from streamnursery.pipeline.relayed import RelayedAnswer
from streamnursery.values.errors import EngineError, MalformedChunkError
from streamnursery.values.usage import Usage

_SHOWN = 200
"""Bytes of an answer that a message quotes."""


@attrs.frozen
class PassedOn:
    """A whole answer as it came."""

    body: msgspec.Raw = attrs.field(repr=False)
    """JSON in one line."""
    request_id: str | None
    attempts: int
    route: str
    usage: Usage | None


async def pass_on(engine: Engine, row: BatchRow, tenant: str | None) -> PassedOn:
    """Ask for a row that has a path. `tenant` pays for it; None leaves it to the row.

    Raises:
        EngineError: what ended the request, or the answer that said no.
    """
    asked = row.request
    relay = engine.relay(
        asked.model,
        row.url,
        row.body,
        tenant=asked.tenant if tenant is None else tenant,
        priority=asked.priority,
    )
    async with relay as answer:
        data = await answer.read()
        if answer.error is not None:
            raise answer.error
        return PassedOn(
            _in_one_line(data, answer),
            answer.request_id,
            len(answer.attempts),
            answer.route or "",
            answer.usage,
        )


def _in_one_line(data: bytes, answer: RelayedAnswer) -> msgspec.Raw:
    """Line breaks between the values of an answer would be ends of lines in a file of lines."""
    try:
        return msgspec.Raw(msgspec.json.format(data, indent=-1))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = data[:_SHOWN].decode(errors="replace")
        failure: EngineError = MalformedChunkError(
            f"the answer is no JSON: {error}", status=answer.status, body=text
        )
        failure.attempts = answer.attempts
        raise failure from None
