"""Where no model is named, the endpoint is asked which it serves."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamnursery.cli.exits import Exit
from streamnursery.cli.served_models import names_in
from tests.support.cli import Command

ANSWER = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"Scattering."}}]}\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


@contextmanager
def endpoint(listed: bytes, asked: list[str]) -> Iterator[str]:
    """A server that lists these models and answers every question; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(listed, "application/json")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append(json.loads(body)["model"])
            self._answer(ANSWER, "text/event-stream")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


ONE = b'{"object":"list","data":[{"id":"qwen3","object":"model"}]}'
TWO = b'{"data":[{"id":"qwen3"},{"id":"llama"}]}'


def test_the_only_model_of_an_endpoint_is_asked(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with endpoint(ONE, asked) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert command("ask", "Why is the sky blue?").out == "Scattering.\n"
        doctor = command("doctor")
    assert asked == ["qwen3"]
    assert "serves qwen3" in doctor.out
    assert doctor.err.endswith('ask "Why is the sky blue?"\n')


def test_of_several_none_is_chosen_and_all_are_named(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with endpoint(TWO, asked) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        ran = command("ask", "Why is the sky blue?")
        bench = command("bench", "--requests", "1")
        there = command("bench", "--requests", "1", "--url", url)
        doctor = command("doctor")
    assert asked == []
    assert {ran.code, bench.code, there.code} == {Exit.USAGE}
    for found in (ran, bench, there):
        assert "serves qwen3, llama" in found.err
        assert "-m qwen3" in found.err
    assert f"--url {url} -m qwen3" in there.err
    assert doctor.err.endswith('ask "Why is the sky blue?" -m qwen3\n')


def test_bench_measures_the_only_model_of_an_address(command: Command) -> None:
    asked: list[str] = []
    with endpoint(ONE, asked) as url:
        words = ("--url", url, "--requests", "2", "--no-calibration", "--json")
        found = json.loads(command("bench", *words).out)
    assert set(asked) == {"qwen3"}
    assert found["targets"][0]["levels"][0]["all"]["ok"] >= 2


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data":7}', b'{"data":[{"id":3},4]}'])
def test_what_is_no_list_of_models_names_none(body: bytes) -> None:
    assert names_in(body) == ()


def test_gemini_lists_its_models_in_words_of_its_own() -> None:
    assert names_in(b'{"models":[{"name":"models/gemini-2.5-pro"}]}') == ("gemini-2.5-pro",)
