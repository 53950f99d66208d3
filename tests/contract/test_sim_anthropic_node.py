"""Anthropic's own client for Node against the simulated provider."""

import json
import os
import subprocess
from random import Random
from typing import Any

import pytest
import trio

from streamnursery.simulator import CallTool, Plan, Provider, Reasoning, Rule, When, serve_loopback
from streamnursery.values.secret import Secret
from tests.support.guard import GUARD
from tests.support.peers import INSTALLED, needs
from tests.support.simulator import MODELS

SDK = "npm/node_modules/@anthropic-ai/sdk"
pytestmark = [pytest.mark.contract, needs(SDK, "node")]
PROGRAM = """
const Anthropic = require('@anthropic-ai/sdk').default;
const tools = [{name: 'look', input_schema: {type: 'object', properties: {at: {type: 'string'}}}}];
const thinking = {type: 'enabled', budget_tokens: 1024};
(async () => {
  const client = new Anthropic({maxRetries: 0});
  const messages = [{role: 'user', content: 'Where is it?'}];
  const told = [];
  for (let turn = 0; turn < 3; turn++) {
    const asked = {model: 'fast', max_tokens: 2000, messages, tools, thinking};
    const answer = await client.messages.stream(asked).finalMessage();
    told.push({reason: answer.stop_reason, kinds: answer.content.map((block) => block.type)});
    messages.push({role: 'assistant', content: answer.content});
    const calls = answer.content.filter((block) => block.type === 'tool_use');
    const results = calls.map(({id}) => ({type: 'tool_result', tool_use_id: id, content: 'no'}));
    if (results.length) messages.push({role: 'user', content: results});
  }
  console.log(JSON.stringify(told));
})();
"""


async def test_it_keeps_thoughts_and_calls_through_three_turns() -> None:
    turns = (
        Rule((Reasoning(3), CallTool(fragment=3)), When(requests=(1, 2))),
        Rule((Reasoning(2),), When(requests=(3,))),
    )
    provider = Provider(dice=Random(1), models=MODELS, plan=Plan(turns), key=Secret("sk-right"))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        environment = {
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(INSTALLED / "npm" / "node_modules"),
            "ANTHROPIC_API_KEY": "sk-right",
            "ANTHROPIC_BASE_URL": server.url.removesuffix("/v1"),
        }
        with trio.fail_after(GUARD):
            ran = await trio.run_process(
                ["node", "-e", PROGRAM],
                env=environment,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                check=False,
            )
        await server.stop(grace=GUARD)
    assert ran.returncode == 0, ran.stdout
    told: Any = json.loads(ran.stdout)
    assert [turn["reason"] for turn in told] == ["tool_use", "tool_use", "end_turn"]
    assert told[0]["kinds"] == ["thinking", "tool_use"]
    assert [record.status for record in provider.log] == [200] * 3
