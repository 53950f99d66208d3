"""The engine against litellm's proxy."""

from pathlib import Path

import pytest

from tests.support.peers import INSTALLED, KEY, asking, failure, free_port, needs, serving

LITELLM = "litellm/bin/litellm"
pytestmark = [pytest.mark.contract, needs(LITELLM)]
ANSWER = "Hello in several chunks. Ünïcödé 日本語 🙂 done."
CONFIG = f"""
model_list:
  - {{model_name: text, litellm_params:
       {{model: openai/text, api_key: x, mock_response: "{ANSWER}"}}}}
  - model_name: limited
    litellm_params: {{model: openai/a, api_key: x, mock_response: litellm.RateLimitError}}
  - model_name: broken
    litellm_params: {{model: openai/b, api_key: x, mock_response: litellm.InternalServerError}}
litellm_settings: {{num_retries: 0, telemetry: false}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {KEY}}}
"""


async def test_its_answers_and_errors_are_read_as_meant(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG)
    port = free_port()
    words = ("--config", "c.yaml", "--host", "127.0.0.1", "--port", str(port))
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with serving(port, tmp_path, INSTALLED / LITELLM, *words, environ=environ) as url:
        async with asking(url, "text", "limited", "broken", "none") as eng:
            completion = await eng.complete("text", "hello", n=2)
            assert [choice.text for choice in completion.choices] == [ANSWER] * 2
            # It ends the first choice and, by its end mark alone, the second: recorded as
            # two_choices_one_unfinished.sse.
            assert [choice.finish_reason for choice in completion.choices] == ["stop", None]
            assert completion.usage is not None
            assert (await failure(eng, "limited", "hello")).category == "rate_limit_error"
            assert (await failure(eng, "broken", "hello")).category == "server_error"
            assert not (await failure(eng, "none", "hello")).retryable
        async with asking(url, "text", key="sk-wrong") as eng:
            error = await failure(eng, "text", "hello")
            # Without a database it answers a wrong key by 400.
            assert error.status in {400, 401}
            assert not error.retryable
