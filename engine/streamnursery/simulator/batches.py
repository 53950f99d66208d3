"""Batches of a simulated provider: `/v1/batches`, over the files of `/v1/files`.

Rule 1: each line is a request to this provider, with its plan and its log; a fault that leaves no
        whole answer is an error of its line.
Rule 2: a batch takes `BEGINS` seconds and `EACH` for every line, in the provider's time; who looks
        at it after that finds it done. No task belongs to it.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, Final

import attrs
import msgspec

from streamnursery.serving.steps import End, How, Send, Step, Wait
from streamnursery.simulator.files import KeptFile, UploadedFiles
from streamnursery.wire.openai_chat.server import ApiError, json_object

BEGINS: Final = 1.0
EACH: Final = 0.05
MOST_LINES: Final = 10_000
MOST_KEPT: Final = 1000
ENDPOINTS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings")
_DAY: Final = 86_400
_LONGEST: Final = 16 * 1024 * 1024
"""Bytes of one answer."""

Ask = Callable[[str, bytes], tuple[int, str, Any]]
"""A path and a body to the status, the request's id and the answer; None: none that is whole."""


@attrs.define
class KeptBatch:
    """One batch. Times are Unix times."""

    id: str
    endpoint: str
    input_file_id: str
    lines: list[dict[str, Any]] = attrs.field(repr=False)
    created_at: float
    metadata: object = None
    cancelled_at: float = inf
    output: KeptFile | None = None
    errors: KeptFile | None = None
    failed: int = 0
    done: bool = False

    @property
    def completes_at(self) -> float:
        return self.created_at + BEGINS + EACH * len(self.lines)

    def status(self, now: float) -> str:
        if self.cancelled_at <= now:
            return "cancelled"
        if now >= self.completes_at:
            return "completed"
        return "validating" if now < self.created_at + BEGINS else "in_progress"

    def shown(self, now: float) -> dict[str, Any]:
        """In the API's shape."""
        status = self.status(now)
        complete = status == "completed"
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": None,
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": status,
            "output_file_id": self.output.id if self.output else None,
            "error_file_id": self.errors.id if self.errors else None,
            "created_at": int(self.created_at),
            "in_progress_at": None if status == "validating" else int(self.created_at + BEGINS),
            "expires_at": int(self.created_at) + _DAY,
            "finalizing_at": int(self.completes_at) if complete else None,
            "completed_at": int(self.completes_at) if complete else None,
            "failed_at": None,
            "expired_at": None,
            "cancelling_at": int(self.cancelled_at) if status == "cancelled" else None,
            "cancelled_at": int(self.cancelled_at) if status == "cancelled" else None,
            "request_counts": {
                "total": len(self.lines),
                "completed": len(self.lines) - self.failed if complete else 0,
                "failed": self.failed,
            },
            "metadata": self.metadata,
        }


class Batches:
    """The batches of one provider."""

    def __init__(self, files: UploadedFiles) -> None:
        self._files = files
        self._kept: dict[str, KeptBatch] = {}

    def answered(self, method: str, rest: str, body: bytes, now: float, ask: Ask) -> object:
        """The object of an answer. It may raise `ApiError`."""
        name, _, verb = rest.partition("/")
        if method == "POST" and not name:
            return self._create(json_object(body), now).shown(now)
        if method == "GET" and not name:
            kept = [self._looked_at(one, now, ask).shown(now) for one in self._kept.values()]
            return {"object": "list", "data": kept[::-1], "has_more": False}
        batch = self._kept.get(name)
        if batch is None:
            msg = f"No batch found with id '{name[:80]}'."
            raise ApiError(404, msg, param="batch_id", code="not_found")
        if method == "POST" and verb == "cancel":
            if self._looked_at(batch, now, ask).status(now) in ("validating", "in_progress"):
                batch.cancelled_at = now
        elif method != "GET" or verb:
            raise ApiError(405, f"Not allowed to {method} here.", code="method_not_supported")
        return self._looked_at(batch, now, ask).shown(now)

    def _create(self, asked: dict[str, Any], now: float) -> KeptBatch:
        endpoint = asked.get("endpoint")
        if endpoint not in ENDPOINTS:
            msg = f"Invalid value for 'endpoint': expected one of {', '.join(ENDPOINTS)}."
            raise ApiError(400, msg, param="endpoint")
        if len(self._kept) >= MOST_KEPT:
            raise ApiError(429, f"The simulator keeps {MOST_KEPT} batches.", code="batch_limit")
        file = self._files.get(str(asked.get("input_file_id")))
        lines = list(_lines(file.data, str(endpoint)))
        number = len(self._kept) + 1
        batch = KeptBatch(
            f"batch_sim_{number}", str(endpoint), file.id, lines, now, asked.get("metadata")
        )
        self._kept[batch.id] = batch
        return batch

    def _looked_at(self, batch: KeptBatch, now: float, ask: Ask) -> KeptBatch:
        """With its files, once it is complete."""
        if batch.done or batch.status(now) != "completed":
            return batch
        batch.done = True
        told = [_asked(batch, number, line, ask) for number, line in enumerate(batch.lines, 1)]
        well = [one for one in told if one["response"] and one["response"]["status_code"] < 400]
        ill = [one for one in told if one not in well]
        batch.failed = len(ill)
        batch.output = self._written(batch, "output", well)
        batch.errors = self._written(batch, "error", ill)
        return batch

    def _written(self, batch: KeptBatch, kind: str, told: list[dict[str, Any]]) -> KeptFile | None:
        if not told:
            return None
        text = b"".join(msgspec.json.encode(one) + b"\n" for one in told)
        name = f"{batch.id}_{kind}.jsonl"
        return self._files.add(name, "batch_output", text, int(batch.completes_at))


def _asked(batch: KeptBatch, number: int, line: dict[str, Any], ask: Ask) -> dict[str, Any]:
    status, request_id, answer = ask(batch.endpoint, msgspec.json.encode(line["body"]))
    told: dict[str, Any] = {
        "id": f"batch_req_{batch.id.rpartition('_')[2]}_{number}",
        "custom_id": line["custom_id"],
        "response": {"status_code": status, "request_id": request_id, "body": answer},
        "error": None,
    }
    if answer is None:
        error = {"code": "server_error", "message": "The request was broken off."}
        told |= {"response": None, "error": error}
    return told


def _lines(data: bytes, endpoint: str) -> Iterator[dict[str, Any]]:
    """The requests of an input file.

    Raises:
        ApiError: with status 400; it names the line.
    """
    rows = [row for row in data.split(b"\n") if row.strip()]
    if not 1 <= len(rows) <= MOST_LINES:
        msg = f"The input file has {len(rows)} requests; the simulator takes 1 to {MOST_LINES}."
        raise ApiError(400, msg, param="input_file_id")
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        try:
            line = msgspec.json.decode(row)
        except (msgspec.DecodeError, RecursionError):
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("body"), dict):
            raise _wrong(number, "it is no JSON object with a body")
        if line.get("method") != "POST" or line.get("url") != endpoint:
            raise _wrong(number, f"its method is not POST or its url not {endpoint}")
        if not isinstance(line.get("custom_id"), str) or line["custom_id"] in seen:
            raise _wrong(number, "its custom_id is no string, or not its own")
        if line["body"].get("stream"):
            raise _wrong(number, "a batch does not stream")
        seen.add(line["custom_id"])
        yield line


def _wrong(number: int, why: str) -> ApiError:
    return ApiError(400, f"Line {number} of the input file: {why}.", param="input_file_id")


def taken(steps: Iterator[Step]) -> tuple[int, Any, str]:
    """Status, JSON and ending of an answer in a batch; None for one that broke off, or
    goes on for ever."""
    data = bytearray()
    for step in steps:
        if isinstance(step, Wait) and step.seconds == inf:
            break
        if isinstance(step, Send):
            data += step.data
            if len(data) > _LONGEST:
                break
        elif isinstance(step, End):
            head, _, body = bytes(data).partition(b"\r\n\r\n")
            status = int(head[9:12]) if head.startswith(b"HTTP/1.1 ") else 502
            try:
                found = msgspec.json.decode(body)
            except msgspec.DecodeError:
                return status, None, step.note
            whole = step.how in (How.KEEP, How.CLOSE)
            return status, found if whole else None, step.note
    return 502, None, "client gone"
