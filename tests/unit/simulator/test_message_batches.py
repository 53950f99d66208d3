"""Message Batches of a simulated provider, as Anthropic describes them."""

import json
from random import Random
from typing import Any

import pytest

from streamnursery.simulator import Plan, Provider, Rule, Stall, Status, When

PATH = "/v1/messages/batches"
HEADERS = [
    ("content-type", "application/json"),
    ("anthropic-version", "2023-06-01"),
    ("host", "here:1"),
]


def a_provider(plan: Plan | None = None) -> Provider:
    return Provider(dice=Random(1), plan=plan)


def ask(
    provider: Provider, method: str, path: str, body: object = b"", now: float = 0.0
) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = provider.begin(method, path, HEADERS, now)
    steps = exchange.answer(data, now)
    head, _, text = b"".join(s.data for s in steps if hasattr(s, "data")).partition(b"\r\n\r\n")
    status = int(head.split()[1])
    if path.endswith("/results") and status == 200:
        return status, {
            one["custom_id"]: one["result"] for one in map(json.loads, text.splitlines())
        }
    return status, json.loads(text)


def request(name: str, **params: object) -> dict[str, Any]:
    asked = {"model": "fast", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    return {"custom_id": name, "params": {**asked, **params}}


def made(provider: Provider, *requests: dict[str, Any], now: float = 0.0) -> dict[str, Any]:
    status, batch = ask(provider, "POST", PATH, {"requests": list(requests)}, now)
    assert status == 200
    found: dict[str, Any] = batch
    return found


def test_a_batch_ends_in_time_and_its_results_are_those_of_the_provider() -> None:
    provider = a_provider(Plan((Rule((Status(529),), When(requests=(4,))),)))
    batch = made(provider, request("a"), request("b"), request("c", max_tokens=0))
    assert batch["processing_status"] == "in_progress"
    assert batch["request_counts"]["processing"] == 3
    assert batch["results_url"] is batch["ended_at"] is None
    here = f"{PATH}/{batch['id']}"
    assert ask(provider, "GET", f"{here}/results")[0] == 404
    status, ended = ask(provider, "GET", here, now=2.0)
    assert (status, ended["processing_status"]) == (200, "ended")
    counts = {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 0, "expired": 0}
    assert ended["request_counts"] == counts
    assert ended["results_url"] == f"http://here:1{here}/results"
    _, results = ask(provider, "GET", f"{here}/results", now=2.0)
    assert set(results) == {"a", "b", "c"}
    kinds = sorted(
        result["error"]["error"]["type"] for result in results.values() if "error" in result
    )
    assert kinds == ["invalid_request_error", "overloaded_error"]
    message = next(one["message"] for one in results.values() if "message" in one)
    assert message["type"] == "message"
    assert message["usage"]["output_tokens"] == 5


def test_what_was_not_reached_when_it_was_canceled_is_canceled() -> None:
    provider = a_provider()
    batch = made(provider, *(request(f"r{n}") for n in range(20)))
    here = f"{PATH}/{batch['id']}"
    status, told = ask(provider, "POST", f"{here}/cancel", now=1.5)
    assert (status, told["processing_status"]) == (200, "canceling")
    assert told["cancel_initiated_at"] == "2026-01-01T00:00:01.500000Z"
    _, ended = ask(provider, "GET", here, now=3.0)
    assert ended["processing_status"] == "ended"
    counts = ended["request_counts"]
    assert (counts["succeeded"], counts["canceled"]) == (10, 10)
    assert ask(provider, "POST", f"{here}/cancel", now=4.0)[1] == ended


def test_a_request_whose_answer_never_ends_expires_with_the_day_of_its_batch() -> None:
    provider = a_provider(Plan((Rule((Stall(0),), When(model="fast")),)))
    here = f"{PATH}/{made(provider, request('a'))['id']}"
    assert ask(provider, "GET", here, now=80_000.0)[1]["processing_status"] == "in_progress"
    assert ask(provider, "GET", here, now=86_400.0)[1]["request_counts"]["expired"] == 1
    assert ask(provider, "GET", f"{here}/results", now=86_400.0)[1] == {"a": {"type": "expired"}}


def test_pages_go_from_the_newest_on_and_back_from_one_to_the_newer() -> None:
    provider = a_provider()
    names = [made(provider, request("a"))["id"] for _ in range(7)][::-1]

    def page(query: str) -> tuple[list[str], bool]:
        _, told = ask(provider, "GET", f"{PATH}?{query}")
        assert (told["first_id"], told["last_id"]) == (
            told["data"][0]["id"],
            told["data"][-1]["id"],
        )
        return [one["id"] for one in told["data"]], told["has_more"]

    assert page("limit=3") == (names[:3], True)
    assert page(f"limit=3&after_id={names[2]}") == (names[3:6], True)
    assert page(f"limit=3&after_id={names[5]}") == (names[6:], False)
    assert page(f"limit=3&before_id={names[5]}") == (names[2:5], True)
    assert page(f"limit=3&before_id={names[2]}") == (names[:2], False)
    assert ask(provider, "GET", f"{PATH}?limit=0")[0] == 400
    assert ask(provider, "GET", f"{PATH}?after_id=none")[0] == 400


def test_only_what_has_ended_is_deleted() -> None:
    provider = a_provider()
    here = f"{PATH}/{made(provider, request('a'))['id']}"
    assert ask(provider, "DELETE", here)[0] == 400
    assert ask(provider, "DELETE", here, now=5.0)[1]["type"] == "message_batch_deleted"
    assert ask(provider, "GET", here, now=5.0)[0] == 404


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({}, "1 to"),
        ({"requests": []}, "1 to"),
        ({"requests": [request("a")], "more": 1}, "more: Extra inputs"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0"),
        ({"requests": [request("a b")]}, "should match pattern"),
        ({"requests": [request("x" * 65)]}, "should match pattern"),
        ({"requests": [request("a"), request("a")]}, "there twice"),
        ({"requests": [request("a", stream=True)]}, "not one of a stream"),
    ],
)
def test_what_makes_no_batch_is_refused(asked: dict[str, Any], why: str) -> None:
    status, answer = ask(a_provider(), "POST", PATH, asked)
    assert status == 400
    assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")
    assert why in answer["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("PUT", ""), ("GET", "/none"), ("PUT", "/none")])
def test_what_is_not_there_is_told(method: str, path: str) -> None:
    status, answer = ask(a_provider(), method, PATH + path)
    assert status in (404, 405)
    assert answer["type"] == "error"
