"""What users of other clients type first gets a sentence that names the right line."""

import copy
import pickle

import pytest

from streamnursery import ChatRequest, ConfigError, RequestError, open_engine
from streamnursery.values.partial import Choice, ToolCall
from tests.support.scene import scene, virtual


@virtual
async def test_a_stream_that_is_read_without_its_block() -> None:
    async with scene() as s:
        block = s.engine.stream("m", "Hi")
        with pytest.raises(RequestError, match=r"`async with eng\.stream\(\.\.\.\) as stream:`"):
            async for _ in block:  # type: ignore[attr-defined]
                pass
        with pytest.raises(AttributeError, match=r"'text'; it gives the stream: `async with"):
            block.text()  # type: ignore[attr-defined]
        async with block as stream:  # it was not used up
            assert (await stream.completion()).text


@virtual
async def test_an_engine_that_is_used_without_its_block() -> None:
    eng = open_engine()
    with pytest.raises(AttributeError, match=r"`async with open_engine\(\) as eng:`, then `eng.c"):
        await eng.complete("m", "Hi")  # type: ignore[attr-defined]
    async with eng as engine:
        assert engine.config.endpoints == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [("api_key", "x"), ("base_url", "x"), ("model", "x"), ("timeout", 3), ("max_retries", 3)],
)
def test_an_engine_that_is_made_as_other_clients_are(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"open_engine\(\) takes no {name}; .*\("):
        open_engine(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        open_engine(nonsense=1)  # type: ignore[call-arg]


@virtual
async def test_the_lines_that_are_named_are_right() -> None:
    from streamnursery.values.secret import Secret

    async with open_engine({"endpoints": {"openai": {"key": Secret("x")}}}) as eng:
        assert eng.config.endpoints["openai"].url.origin.host == "api.openai.com"
    async with open_engine({"endpoints": {"mine": {"url": "http://host:8000/v1"}}}) as eng:
        assert "mine" in eng.config.endpoints
    settings = {"defaults": {"patience": {"total": 30}, "retries": {"attempts": 3}}}
    async with open_engine(settings) as eng:
        assert (eng.config.patience.total, eng.config.retries.attempts) == (30, 3)


def test_an_answer_that_is_read_in_the_shape_of_the_api() -> None:
    choice, call = Choice(0, "Hi"), ToolCall(0, "a", "f", "{}")
    for name in ("message", "delta"):
        with pytest.raises(AttributeError, match=rf"{name!r}; .* completion\.text"):
            getattr(choice, name)
    with pytest.raises(AttributeError, match=r"'function'; .* call\.arguments"):
        call.function  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match=r"^'Choice' object has no attribute 'nonsense'$"):
        choice.nonsense  # type: ignore[attr-defined]  # noqa: B018
    for thing in (choice, call):
        assert pickle.loads(pickle.dumps(thing)) == copy.copy(thing) == thing


@virtual
async def test_a_request_of_many_may_be_a_text_and_name_its_priority() -> None:
    async with scene() as s:
        requests = [ChatRequest("m", "Hi", priority="batch") for _ in range(3)]
        assert all(outcome.ok for outcome in await s.engine.settle(requests))
        async with s.engine.lease("m", priority="batch"):
            pass


@virtual
async def test_an_unknown_model_with_a_long_name_gets_a_short_message() -> None:
    async with open_engine({"models": {"sim/fast": {"max_streams": 1}}}) as eng:
        with pytest.raises(ConfigError, match="no endpoint serves model 'x") as caught:
            await eng.complete("x" * 1_000_000, "Hi")
        assert len(str(caught.value)) < 400
