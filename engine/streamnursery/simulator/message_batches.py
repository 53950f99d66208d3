"""Message Batches of a simulated provider, `/v1/messages/batches`, in Anthropic's shape.

Rule 1: each request of a batch is one to this provider, with its plan and its log.
Rule 2: a batch takes `BEGINS` seconds and `EACH` for every request, in the provider's time. What
        was not reached when it was canceled is `canceled`; a request whose answer never ends is
        `expired` when the batch's day is over. No task belongs to it.
Rule 3: nothing but `custom_id` comes back of what a client would like to know a batch by.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any, Final

import attrs
import msgspec

from streamnursery.serving.steps import JSON
from streamnursery.simulator.batches import BEGINS, EACH, MOST_KEPT, MOST_LINES, Ask
from streamnursery.wire.openai_chat.server import ApiError, json_object

PATH: Final = "/v1/messages/batches"
_DAY: Final = 86_400.0
_MOST_LISTED: Final = 1000
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LINES: Final = ("content-type", "application/x-jsonl")


@attrs.define
class KeptMessageBatch:
    """One batch. Times are Unix times."""

    id: str
    requests: list[dict[str, Any]] = attrs.field(repr=False)
    created_at: float
    cancelled_at: float = inf
    results: list[dict[str, Any]] | None = attrs.field(default=None, repr=False)

    @property
    def reached(self) -> int:
        """Requests that were answered before it was canceled."""
        if self.cancelled_at == inf:
            return len(self.requests)
        return max(0, int((self.cancelled_at - self.created_at - BEGINS) / EACH))

    @property
    def works_until(self) -> float:
        """When the last of them is answered."""
        done = self.created_at + BEGINS + EACH * len(self.requests)
        return min(done, self.cancelled_at + BEGINS)

    @property
    def ends_at(self) -> float:
        """When nothing more will come, once `results` are known."""
        if any(one["result"]["type"] == "expired" for one in self.results or ()):
            return self.created_at + _DAY
        return self.works_until

    def ended(self, now: float) -> bool:
        return self.results is not None and now >= self.ends_at

    def shown(self, now: float, base: str) -> dict[str, Any]:
        """In the API's shape; results are found below `base`."""
        ended = self.ended(now)
        counts = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        for one in self.results or () if ended else ():
            counts[one["result"]["type"]] += 1
        cancelled = self.cancelled_at <= now
        status = "ended" if ended else "canceling" if cancelled else "in_progress"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {"processing": 0 if ended else len(self.requests), **counts},
            "ended_at": _date(self.ends_at) if ended else None,
            "created_at": _date(self.created_at),
            "expires_at": _date(self.created_at + _DAY),
            "archived_at": None,
            "cancel_initiated_at": _date(self.cancelled_at) if cancelled else None,
            "results_url": f"{base}{PATH}/{self.id}/results" if ended else None,
        }


class MessageBatches:
    """The Message Batches of one provider."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptMessageBatch] = {}
        self._made = 0

    def answered(
        self,
        method: str,
        rest: str,
        query: Mapping[str, str],
        body: bytes,
        now: float,
        ask: Ask,
        base: str,
    ) -> tuple[bytes, tuple[str, str]]:
        """The body of an answer, and its content type. It may raise `ApiError`."""
        name, _, verb = rest.partition("/")
        if not name and method == "POST":
            return _json(self._create(json_object(body), now).shown(now, base))
        if not name and method == "GET":
            return _json(self._listed(query, now, ask, base))
        batch = self._kept.get(name)
        if batch is None:
            raise ApiError(404, f"Batch {name[:80]} not found", code="not_found_error")
        self._look_at(batch, now, ask)
        match method, verb:
            case "GET", "":
                pass
            case "POST", "cancel":
                if not batch.ended(now):
                    batch.cancelled_at = min(batch.cancelled_at, now)
            case "GET", "results":
                return self._results(batch, now), _LINES
            case "DELETE", "":
                if not batch.ended(now):
                    raise ApiError(400, f"Batch {name} has not ended: cancel it first")
                del self._kept[name]
                return _json({"id": name, "type": "message_batch_deleted"})
            case _:
                raise ApiError(405, f"Not allowed to {method} here.")
        return _json(batch.shown(now, base))

    def _create(self, asked: dict[str, Any], now: float) -> KeptMessageBatch:
        requests = asked.get("requests")
        if not isinstance(requests, list) or not 1 <= len(requests) <= MOST_LINES:
            msg = f"requests: List should have 1 to {MOST_LINES} items (of the simulator)"
            raise ApiError(400, msg)
        if set(asked) - {"requests"}:
            raise ApiError(400, f"{min(set(asked) - {'requests'})}: Extra inputs are not permitted")
        seen: set[str] = set()
        for place, one in enumerate(requests):
            _check(place, one, seen)
        if len(self._kept) >= MOST_KEPT:
            raise ApiError(429, f"The simulator keeps {MOST_KEPT} batches.")
        self._made += 1
        batch = KeptMessageBatch(f"msgbatch_sim_{self._made}", requests, now)
        self._kept[batch.id] = batch
        return batch

    def _listed(self, query: Mapping[str, str], now: float, ask: Ask, base: str) -> dict[str, Any]:
        """A page, the newest first: behind `after_id`, or in front of `before_id`."""
        newest_first = list(self._kept.values())[::-1]
        names = [one.id for one in newest_first]
        text = query.get("limit", "20")
        if not text.isdecimal() or not 1 <= int(text) <= _MOST_LISTED:
            raise ApiError(400, f"limit: Input should be 1 to {_MOST_LISTED}")
        limit = int(text)
        start, end = 0, len(names)
        before, after = query.get("before_id"), query.get("after_id")
        for given in (before, after):
            if given and given not in names:
                raise ApiError(400, f"No batch {given[:80]} to go on from")
        if before:
            end = names.index(before)
            start = max(0, end - limit)
            more = start > 0
        else:
            start = names.index(after) + 1 if after else 0
            more = start + limit < end
            end = min(end, start + limit)
        page = newest_first[start:end]
        for one in page:
            self._look_at(one, now, ask)
        return {
            "data": [one.shown(now, base) for one in page],
            "has_more": more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def _look_at(self, batch: KeptMessageBatch, now: float, ask: Ask) -> None:
        """Its requests are answered once it has had its time."""
        if batch.results is None and now >= batch.works_until:
            batch.results = [
                {"custom_id": one["custom_id"], "result": _result(one, ask)}
                if place < batch.reached
                else {"custom_id": one["custom_id"], "result": {"type": "canceled"}}
                for place, one in enumerate(batch.requests)
            ]

    def _results(self, batch: KeptMessageBatch, now: float) -> bytes:
        if not batch.ended(now) or batch.results is None:
            msg = f"{PATH}/{batch.id} has no available results"
            raise ApiError(404, msg, code="not_found_error")
        # In any order: what belongs together is told by `custom_id`.
        return b"".join(msgspec.json.encode(one) + b"\n" for one in batch.results[::-1])


def _check(place: int, one: object, seen: set[str]) -> None:
    where = f"requests.{place}"
    if not isinstance(one, dict) or set(one) != {"custom_id", "params"}:
        raise ApiError(400, f"{where}: an object with custom_id and params, and nothing else")
    name, params = one["custom_id"], one["params"]
    if not isinstance(name, str) or not _CUSTOM_ID.fullmatch(name):
        msg = f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        raise ApiError(400, msg)
    if name in seen:
        raise ApiError(400, f"{where}.custom_id: '{name}' is there twice")
    seen.add(name)
    if not isinstance(params, dict) or params.get("stream"):
        raise ApiError(400, f"{where}.params: an object, and not one of a stream")


def _result(one: dict[str, Any], ask: Ask) -> dict[str, Any]:
    status, request_id, answer = ask("/v1/messages", msgspec.json.encode(one["params"]))
    if status == 200 and answer is not None:
        return {"type": "succeeded", "message": answer}
    if status == 502 and answer is None:
        return {"type": "expired"}
    told = answer if isinstance(answer, dict) and "error" in answer else {}
    error = told.get("error") or {"type": "api_error", "message": "Internal server error"}
    return {
        "type": "errored",
        "error": {"type": "error", "error": error, "request_id": request_id},
    }


def _json(value: object) -> tuple[bytes, tuple[str, str]]:
    return msgspec.json.encode(value), JSON


def _date(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat().replace("+00:00", "Z")
