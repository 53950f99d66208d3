"""What is taken of a request when it is over, in the engine's thread."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from streamnursery.facade import Engine
from streamnursery.pipeline.delivery import Delivery
from streamnursery.telemetry import names
from streamnursery.telemetry.content import Writer
from streamnursery.values.usage import Usage


@attrs.frozen
class Facts:
    """Of one request and its answer."""

    model: str
    request: Mapping[str, Any]
    """Attributes of what was asked for."""
    endpoint: str | None
    """That of the last attempt, or the first that would be asked."""
    host: str | None
    port: int | None
    operation: str
    usage: Usage
    response_model: str | None
    response_id: str | None
    finish_reasons: tuple[str, ...]
    status: int | None
    """HTTP status of the error that ended it."""
    prompt: str | None = None
    answer: str | None = None


def facts_of(engine: Engine, delivery: Delivery, content: int | None) -> Facts:
    """What is known of a request that is over; `content`: so many characters of its prompt and of
    its answer, None for neither."""
    request = delivery.request
    name = (delivery.route or "").partition("/")[0]
    outlet = engine._outlets.get(name)
    endpoint = outlet.endpoint if outlet is not None else None
    writer = Writer(content, _secrets(engine)) if content is not None else None
    error = delivery.error
    fields = {
        attribute: value
        for field, attribute in names.REQUEST_FIELDS.items()
        if (value := getattr(request, field)) is not None
    }
    return Facts(
        model=request.model,
        request=fields,
        endpoint=name or None,
        host=endpoint.url.origin.host if endpoint is not None else None,
        port=endpoint.url.origin.port if endpoint is not None else None,
        operation=names.OPERATIONS.get(outlet.dialect.name if outlet else "", "chat"),
        usage=delivery.usage or Usage(),
        response_model=delivery.response_model,
        response_id=delivery.response_id,
        finish_reasons=delivery.transcript.finish_reasons,
        status=error.status if error is not None else None,
        prompt=writer.prompt(request.messages) if writer is not None else None,
        answer=writer.answer(delivery.transcript.choices()) if writer is not None else None,
    )


def _secrets(engine: Engine) -> Sequence[str]:
    found = {text for outlet in engine._outlets.values() for text in outlet.secrets()}
    return sorted(found, key=len, reverse=True)
