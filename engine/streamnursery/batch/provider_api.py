"""OpenAI's Batch API (`/v1/files`, `/v1/batches`), asked through an engine's relay."""

import uuid
from typing import Any

import msgspec

from streamnursery.facade import Engine
from streamnursery.values.errors import EngineError, MalformedChunkError
from streamnursery.values.policy import Retries

MARK = "streamnursery_part"
"""The key in a batch's metadata that says which part it is."""
_ONCE = Retries(attempts=1)
_PAGE = 100
_MOST_PAGES = 100


class ProviderApi:
    """The batches of one endpoint. Every method raises `EngineError` for what ended a request, and
    for an answer that says no."""

    def __init__(self, engine: Engine, endpoint: str) -> None:
        self._engine = engine
        self._endpoint = endpoint

    async def upload(self, name: str, data: bytes) -> str:
        """The id of a file of lines. Uploaded twice it costs nothing."""
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode()))
        kind = f"multipart/form-data; boundary={boundary}"
        return _id(await self._ask("POST", "/files", body, kind))

    async def create(self, file: str, url: str, mark: str) -> str:
        """The id of a new batch. Asked for once: what fails here may have made one."""
        wanted = {
            "input_file_id": file,
            "endpoint": url,
            "completion_window": "24h",
            "metadata": {MARK: mark},
        }
        body = msgspec.json.encode(wanted)
        return _id(await self._ask("POST", "/batches", body, "application/json", _ONCE))

    async def find(self, mark: str) -> str | None:
        """The id of the batch of a part, if there is one."""
        after = ""
        for _ in range(_MOST_PAGES):
            path = f"/batches?limit={_PAGE}" + (f"&after={after}" if after else "")
            page = _object(await self._ask("GET", path))
            batches = page.get("data") or []
            for batch in batches:
                if (batch.get("metadata") or {}).get(MARK) == mark:
                    return str(batch["id"])
            if not page.get("has_more") or not batches:
                return None
            after = str(batches[-1]["id"])
        return None

    async def batch(self, name: str) -> dict[str, Any]:
        """A batch as the API tells of it."""
        return _object(await self._ask("GET", f"/batches/{name}"))

    async def content(self, file: str) -> bytes:
        """The lines of a file."""
        return await self._ask("GET", f"/files/{file}/content")

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "",
        retries: Retries | None = None,
    ) -> bytes:
        headers = {"content-type": kind} if kind else {}
        relay = self._engine.relay(
            None,
            path,
            body,
            method=method,
            headers=headers,
            endpoint=self._endpoint,
            retries=retries,
        )
        async with relay as answer:
            data = await answer.read()
            if answer.error is not None:
                raise answer.error
            return data


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _malformed("no JSON object", data)
    return found


def _id(data: bytes) -> str:
    found = _object(data).get("id")
    if not isinstance(found, str) or not found:
        raise _malformed("an object without an id", data)
    return found


def _malformed(what: str, data: bytes) -> EngineError:
    text = data[:200].decode(errors="replace")
    return MalformedChunkError(f"the provider answered with {what}", status=200, body=text)
