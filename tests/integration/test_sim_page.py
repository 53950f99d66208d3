"""The page of requests at `/` of `streamnursery sim`, over a real socket."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from html.parser import HTMLParser

import httpx
import pytest
import trio

from streamnursery.simulator import Cut, Plan, Provider, Respond, serve_loopback
from streamnursery.simulator.page import SHOWN, page
from streamnursery.values.secret import Secret

BODY = {"model": "fast", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@asynccontextmanager
async def served(
    plan: Plan | None = None, *, shown: bool = True
) -> AsyncIterator[tuple[Provider, httpx.AsyncClient]]:
    provider = Provider(dice=random.Random(1), plan=plan, key=Secret("sk-very-secret"))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery, page=shown)
        base = server.url.removesuffix("/v1")
        async with httpx.AsyncClient(base_url=base) as client:
            yield provider, client
        await server.stop()
        nursery.cancel_scope.cancel()


async def ask(client: httpx.AsyncClient, **headers: str) -> None:
    key = {"authorization": "Bearer sk-very-secret"}
    with suppress(httpx.HTTPError):  # a fault of the plan; the page tells of it
        await client.post("/v1/chat/completions", json=BODY, headers=key | headers)


class Text(HTMLParser):
    """Tags and text of a page; it fails at nothing, as browsers do."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data + " "


async def test_the_page_shows_what_was_asked_and_what_became_of_it() -> None:
    async with served(Plan.always(Cut(3))) as (provider, client):
        await ask(client, **{"user-agent": "mine/1.0"})
        answer = await client.get("/")
        found = Text(answer.text)
        assert answer.status_code == 200
        for shown in ("POST /v1/chat/completions (stream)", "fast", "cut", "mine/1.0", "200"):
            assert shown in found.text
        assert provider.log[0].intended()[:40] in found.text
        assert len(provider.log) == 1  # the page is no request of the provider's


async def test_no_key_is_on_it_and_its_policy_allows_no_script() -> None:
    async with served() as (_, client):
        await ask(client)
        await ask(client, authorization="Bearer sk-another-secret")
        answer = await client.get("/")
        assert "secret" not in answer.text
        assert "•••• (right)" in answer.text
        assert "•••• (wrong)" in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\"><img src=x onerror='x'>"])
async def test_what_clients_send_is_escaped(evil: str) -> None:
    async with served(Plan.always(Respond(text=f"Hi {evil}"))) as (_, client):
        await ask(client, **{"user-agent": evil, "x-request-id": evil})
        await client.get(f"/v1/{evil}")
        answer = await client.get("/")
        found = Text(answer.text)
        assert found.text.count(evil) >= 3
        assert not {"script", "img"} & set(found.tags)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8400", 200),
        ("localhost", 200),
        ("[::1]:8400", 200),
        ("rebound.example", 403),
        ("127.0.0.1.example:80", 403),
        ("", 403),
    ],
)
async def test_it_answers_to_names_of_this_machine_alone(host: str, status: int) -> None:
    async with served() as (_, client):
        answer = await client.get("/", headers={"host": host})
        assert answer.status_code == status
        assert ("Requests of" in answer.text) == (status == 200)


async def test_it_is_read_and_not_written_and_not_there_unless_asked_for() -> None:
    async with served() as (_, client):
        assert (await client.post("/")).status_code == 405
        assert (await client.get("/favicon.ico")).status_code == 404
        assert 'http-equiv="refresh"' in (await client.get("/?reload")).text
        assert 'http-equiv="refresh"' not in (await client.get("/")).text
    async with served(shown=False) as (_, client):
        assert (await client.get("/")).status_code in (401, 404)


async def test_it_shows_the_last_thousand_and_counts_all() -> None:
    provider = Provider(dice=random.Random(1))
    for _ in range(SHOWN + 50):
        provider.begin("GET", "/v1/models", [], trio.current_time())
    html = await page(provider)
    assert html.count("<tr>") == SHOWN + 1
    assert "1,050 in all" in html
    assert ">1050</td>" in html
    assert ">50</td>" not in html
