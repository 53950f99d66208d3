"""The engine against mock-openai-api, a server with habits of its own."""

from pathlib import Path

import pytest

from tests.support.peers import INSTALLED, asking, failure, free_port, needs, serving

SERVER = "npm/node_modules/.bin/mock-openai-api"
pytestmark = [pytest.mark.contract, needs(SERVER, "node")]


async def test_its_answers_and_errors_are_read_as_meant(tmp_path: Path) -> None:
    port = free_port()
    words = ("-p", str(port), "-H", "127.0.0.1")
    with serving(port, tmp_path, INSTALLED / SERVER, *words) as url:
        async with asking(url, "mock-gpt-thinking", "gpt-4-mock", "none") as eng:
            thought = await eng.complete("mock-gpt-thinking", "hello")
            assert thought.text.startswith("Hello!")
            assert thought.choices[0].reasoning
            assert thought.usage is not None
            assert thought.usage.reasoning_tokens == 64
            # It goes on with a second answer behind its end mark: after_end_mark.sse.
            choice = (await eng.complete("gpt-4-mock", "hello")).choices[0]
            assert (choice.finish_reason, choice.text) == ("tool_calls", "")
            assert [call.name for call in choice.tool_calls] == ["get_time"]
            # Its errors are streams with status 200 and one event: error_at_top.sse.
            error = await failure(eng, "none", "hello")
            assert (error.category, error.status) == ("model_error", 200)
