"""Batch APIs of providers, asked through an engine's relay; OpenAI's (`/v1/files`, `/v1/batches`).

Every method raises `EngineError` for what ended a request, and for an answer that says no.
"""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from streamnursery.batch.parts import Part
from streamnursery.batch.provider_lines import AnsweredLine, answer_of
from streamnursery.facade import Engine
from streamnursery.values.errors import EngineError, MalformedChunkError
from streamnursery.values.policy import Retries

MARK = "streamnursery_part"
"""The key in a batch's metadata that says which part it is."""
_ONCE = Retries(attempts=1)
PAGE = 100
MOST_PAGES = 100
_OVER = frozenset({"completed", "failed", "expired", "cancelled"})


class ProviderApi(ABC):
    """The batches of one endpoint."""

    keeps_input: ClassVar[bool]
    """What was sent lies at the provider until a batch is made of it."""
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, engine: Engine, endpoint: str) -> None:
        self._engine = engine
        self._endpoint = endpoint

    @abstractmethod
    def line(self, row: str, name: str, url: str, body: Mapping[str, Any]) -> bytes:
        """One request; `row` is its id, `name` a short one that is its own in all batches."""

    @abstractmethod
    def joined(self, lines: Sequence[bytes]) -> bytes:
        """What is sent of them."""

    async def upload(self, part: Part, data: bytes) -> str:
        """The id of a file of lines; "" where there are none. Uploaded twice it costs nothing."""
        del part, data
        return ""

    async def newest(self) -> str:
        """What `find` has to know of the time before a batch was asked for."""
        return ""

    @abstractmethod
    async def create(self, part: Part, data: bytes) -> str:
        """The id of a new batch. Asked for once: what fails here may have made one."""

    @abstractmethod
    async def find(self, part: Part, known: Collection[str]) -> str | None:
        """The batch of a part whose answer was lost, or one that may be it; None: there is none.
        It is none of `known`."""

    @abstractmethod
    async def batch(self, name: str) -> dict[str, Any]:
        """A batch as the API tells of it."""

    @abstractmethod
    def is_over(self, batch: Mapping[str, Any]) -> bool:
        """All answers are there that will come."""

    @abstractmethod
    async def answers(self, part: Part, batch: Mapping[str, Any]) -> Iterator[AnsweredLine]:
        """Those of a batch that is over.

        Raises:
            NotOursError: it is not the part's.
        """

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "",
        retries: Retries | None = None,
    ) -> bytes:
        headers = {**self.headers, **({"content-type": kind} if kind else {})}
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

    async def _post(self, path: str, wanted: object) -> str:
        """The id of what a request makes, which is sent once."""
        body = wanted if isinstance(wanted, bytes) else msgspec.json.encode(wanted)
        return id_of(await self._ask("POST", path, body, "application/json", _ONCE))

    async def _get(self, path: str) -> dict[str, Any]:
        return object_of(await self._ask("GET", path))


class OpenAIBatchApi(ProviderApi):
    """`/v1/files` and `/v1/batches`."""

    keeps_input = True

    def line(self, row: str, name: str, url: str, body: Mapping[str, Any]) -> bytes:
        del name
        line = {"custom_id": row, "method": "POST", "url": url, "body": body}
        return msgspec.json.encode(line, enc_hook=str) + b"\n"

    def joined(self, lines: Sequence[bytes]) -> bytes:
        return b"".join(lines)

    async def upload(self, part: Part, data: bytes) -> str:
        name = f"streamnursery-{part.id}.jsonl"
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        )
        body = b"".join((head.encode(), data, f"\r\n--{boundary}--\r\n".encode()))
        kind = f"multipart/form-data; boundary={boundary}"
        return id_of(await self._ask("POST", "/files", body, kind))

    async def create(self, part: Part, data: bytes) -> str:
        del data
        return await self._post(
            "/batches",
            {
                "input_file_id": part.file,
                "endpoint": part.url,
                "completion_window": "24h",
                "metadata": {MARK: part.id},
            },
        )

    async def find(self, part: Part, known: Collection[str]) -> str | None:
        """Known by its mark."""
        del known
        after = ""
        for _ in range(MOST_PAGES):
            page = await self._get(f"/batches?limit={PAGE}" + (f"&after={after}" if after else ""))
            batches = page.get("data") or []
            for batch in batches:
                if (batch.get("metadata") or {}).get(MARK) == part.id:
                    return str(batch["id"])
            if not page.get("has_more") or not batches:
                return None
            after = str(batches[-1]["id"])
        return None

    async def batch(self, name: str) -> dict[str, Any]:
        return await self._get(f"/batches/{name}")

    def is_over(self, batch: Mapping[str, Any]) -> bool:
        return batch.get("status") in _OVER

    async def answers(self, part: Part, batch: Mapping[str, Any]) -> Iterator[AnsweredLine]:
        del part
        files = [batch.get(name) for name in ("output_file_id", "error_file_id")]
        told = [await self._ask("GET", f"/files/{name}/content") for name in files if name]
        return (answer_of(line) for data in told for line in data.split(b"\n") if line.strip())


class NotOursError(Exception):
    """A batch looked like ours, and its answers are those to others' requests."""


def object_of(data: bytes) -> dict[str, Any]:
    """An answer that is an object."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _malformed("no JSON object", data)
    return found


def id_of(data: bytes) -> str:
    """The `id` of an answer that is an object."""
    found = object_of(data).get("id")
    if not isinstance(found, str) or not found:
        raise _malformed("an object without an id", data)
    return found


def _malformed(what: str, data: bytes) -> EngineError:
    text = data[:200].decode(errors="replace")
    return MalformedChunkError(f"the provider answered with {what}", status=200, body=text)
