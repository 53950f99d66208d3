"""What a refusal says of itself."""

import trio

from streamnursery.supervisor.ports import HttpResponse
from streamnursery.values.errors import EngineError

MAX_ERROR_BODY = 64 * 1024
_ERROR_BODY_SECONDS = 5.0


async def error_body(response: HttpResponse) -> bytes:
    """What there is of an error's body: bounded, and no reason to lose the error itself."""
    body = bytearray()
    with trio.move_on_after(_ERROR_BODY_SECONDS):
        try:
            while len(body) < MAX_ERROR_BODY:
                data = await response.receive_some()
                if not data:
                    break
                body += data
        except EngineError:
            pass
    return bytes(body[:MAX_ERROR_BODY])
