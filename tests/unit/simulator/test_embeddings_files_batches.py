"""What a simulated provider offers beside answers: embeddings, files, batches."""

import json
import struct
from base64 import b64decode
from random import Random
from typing import Any

import pytest

from streamnursery.simulator import Plan, Provider, Rule, Status, When
from streamnursery.simulator.batches import taken

BOUNDARY = "frontier"


def a_provider(plan: Plan | None = None) -> Provider:
    return Provider(dice=Random(1), plan=plan)


def ask(
    provider: Provider, method: str, path: str, body: object = b"", now: float = 0.0, kind: str = ""
) -> tuple[int, Any]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    exchange = provider.begin(method, path, [("content-type", kind or "application/json")], now)
    steps = list(exchange.answer(data, now))
    text = b"".join(step.data for step in steps if hasattr(step, "data"))
    if path.endswith("/content"):
        return 200, text.partition(b"\r\n\r\n")[2]
    status, answer, ending = taken(iter(steps))
    exchange.ended(ending, now)
    return status, answer


# Embeddings. ----------------------------------------------------------------------------------


def vectors(*texts: str, **more: object) -> list[list[float]]:
    body = {"model": "text-embedding-3-small", "input": list(texts), **more}
    status, answer = ask(a_provider(), "POST", "/v1/embeddings", body)
    assert status == 200
    return [item["embedding"] for item in answer["data"]]


def near(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_embeddings_are_unit_vectors_and_near_where_words_are_shared() -> None:
    sky, same, blue, other = vectors(
        "the sky is blue", "the sky is blue", "blue is the evening sky", "ten tests passed"
    )
    assert len(sky) == 1536
    assert near(sky, sky) == pytest.approx(1)
    assert sky == same
    assert near(sky, blue) > 0.5 > 0.2 > abs(near(sky, other))


def test_embeddings_come_as_base64_and_shorter_where_that_is_asked_for() -> None:
    (plain,) = vectors("the sky", dimensions=64)
    (coded,) = vectors("the sky", dimensions=64, encoding_format="base64")
    assert struct.unpack("<64f", b64decode(coded)) == pytest.approx(plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 3000}, "input"),
        ({"model": ""}, "model"),
        ({"model": "nobody"}, "model"),
        ({"model": "fast?cut"}, "model"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_a_wrong_request_for_embeddings_is_refused(change: dict[str, Any], names: str) -> None:
    body = {"model": "text-embedding-3-small", "input": "a", **change}
    status, answer = ask(a_provider(), "POST", "/v1/embeddings", body)
    assert status in (400, 404)
    assert answer["error"]["param"] == names


def test_a_plan_and_a_models_query_strike_embeddings_too() -> None:
    plan = Plan((Rule((Status(503),), When(requests=(1,))),))
    provider = a_provider(plan)
    body = {"model": "text-embedding-3-small", "input": "a"}
    assert ask(provider, "POST", "/v1/embeddings", body)[0] == 503
    assert ask(provider, "POST", "/v1/embeddings", body)[0] == 200
    assert ask(provider, "POST", "/v1/embeddings", body | {"model": "fast?status=429"})[0] == 429


# Files and batches. ---------------------------------------------------------------------------


def upload(provider: Provider, data: bytes, purpose: str = "batch") -> tuple[int, Any]:
    part = '--{0}\r\nContent-Disposition: form-data; name="{1}"{2}\r\n\r\n'
    body = (
        part.format(BOUNDARY, "purpose", "").encode()
        + purpose.encode()
        + b"\r\n"
        + part.format(BOUNDARY, "file", '; filename="in.jsonl"').encode()
        + data
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return ask(provider, "POST", "/v1/files", body, kind=kind)


def line(name: str, model: str = "fast", url: str = "/v1/chat/completions") -> bytes:
    messages = [{"role": "user", "content": f"Hello {name}"}]
    body = {"model": model, "messages": messages}
    whole = {"custom_id": name, "method": "POST", "url": url, "body": body}
    return json.dumps(whole).encode() + b"\n"


def test_a_file_is_kept_listed_read_and_deleted() -> None:
    provider = a_provider()
    status, file = upload(provider, b"one\r\n--two\n")
    assert (status, file["filename"], file["bytes"]) == (200, "in.jsonl", 11)
    path = f"/v1/files/{file['id']}"
    assert ask(provider, "GET", f"{path}/content") == (200, b"one\r\n--two\n")
    assert ask(provider, "GET", path)[1] == file
    assert ask(provider, "GET", "/v1/files")[1]["data"] == [file]
    assert ask(provider, "DELETE", path)[1]["deleted"] is True
    assert ask(provider, "GET", path)[0] == 404
    assert ask(provider, "PUT", path)[0] == 405


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"x"),
        (f"multipart/form-data; boundary={BOUNDARY}", b"x"),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--frontier\r\nno name\r\n--frontier--"),
        (f"multipart/form-data; boundary={BOUNDARY}", b"--frontier--"),
    ],
)
def test_an_upload_that_cannot_be_read_is_refused(kind: str, body: bytes) -> None:
    status, answer = ask(a_provider(), "POST", "/v1/files", body, kind=kind)
    assert status == 400
    assert answer["error"]["message"]


def test_a_batch_is_done_in_time_and_answers_each_line_as_the_provider_would() -> None:
    provider = a_provider()
    file = upload(provider, line("a") + line("b", "fast?status=400") + line("c", "fast?cut=1"))[1]
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    status, batch = ask(provider, "POST", "/v1/batches", asked, now=10.0)
    assert (status, batch["status"]) == (200, "validating")
    path = f"/v1/batches/{batch['id']}"
    assert ask(provider, "GET", path, now=11.0)[1]["status"] == "in_progress"
    done = ask(provider, "GET", path, now=12.0)[1]
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    assert ask(provider, "GET", "/v1/batches", now=13.0)[1]["data"] == [done]
    output = ask(provider, "GET", f"/v1/files/{done['output_file_id']}/content")[1]
    (well,) = [json.loads(row) for row in output.splitlines()]
    said = well["response"]["body"]["choices"][0]["message"]["content"]
    request = {"model": "fast", "messages": [{"role": "user", "content": "Hello a"}]}
    assert (well["custom_id"], said) == ("a", provider.expected_text(request))
    errors = ask(provider, "GET", f"/v1/files/{done['error_file_id']}/content")[1]
    refused, broken = [json.loads(row) for row in errors.splitlines()]
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("b", 400)
    assert (broken["custom_id"], broken["error"]["code"]) == ("c", "server_error")
    assert provider.requests_in_progress == 0


def test_a_batch_that_is_cancelled_stays_so() -> None:
    provider = a_provider()
    file = upload(provider, line("a"))[1]
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    batch = ask(provider, "POST", "/v1/batches", asked)[1]
    path = f"/v1/batches/{batch['id']}"
    assert ask(provider, "POST", f"{path}/cancel", now=0.5)[1]["status"] == "cancelled"
    late = ask(provider, "GET", path, now=99.0)[1]
    assert (late["status"], late["output_file_id"]) == ("cancelled", None)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "has 0 requests"),
        (b"{}\n", "Line 1"),
        (line("a") + b"nothing\n", "Line 2 of the input file: it is no JSON"),
        (line("a") + line("a"), "not its own"),
        (line("a", url="/v1/responses"), "its url not"),
    ],
)
def test_an_input_file_that_makes_no_batch_is_refused(data: bytes, why: str) -> None:
    provider = a_provider()
    file = upload(provider, data)[1]
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    status, answer = ask(provider, "POST", "/v1/batches", asked)
    assert status == 400
    assert why in answer["error"]["message"]


def test_an_endless_answer_is_a_failed_line() -> None:
    provider = a_provider()
    file = upload(provider, line("a", "fast?garbage=endless_line"))[1]
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    batch = ask(provider, "POST", "/v1/batches", asked)[1]
    done = ask(provider, "GET", f"/v1/batches/{batch['id']}", now=9.0)[1]
    assert done["request_counts"]["failed"] == 1
